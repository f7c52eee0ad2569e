//! Texts of notices: a kind, its values and a language in, HTML for Telegram out.
//!
//! Texts are [Fluent] messages. English and Russian are shipped inside the program; an operator's folder with a file a
//! language (`ru.ftl`, `pt-BR.ftl`) overrides any message of them and adds languages. A language that is not there falls
//! back: the exact tag, shorter ones down to the language alone, the default language, English.
//!
//! **An operator's slip costs no notice.** A text that cannot be rendered (an unknown placeholder, broken markup, too
//! long) is passed over for the shipped one, and that is logged once; a broken button is left away. What a *notice* lacks
//! is our own defect and an error. [`check`] finds both kinds of slip beforehand.
//!
//! Values are written for people here and nowhere else: rubles from kopecks, dates in the receiver's wall time, spans
//! from the seconds that are really left when the text is written. They are escaped in one place, with Fluent's own
//! isolation marks off, which some clients show as boxes.
//!
//! [Fluent]: https://projectfluent.org

mod arguments;
mod check;
mod error;
mod escape;
mod format;
mod html;
mod kinds;
mod layer;
mod params;
mod problem;
mod render;
mod texts;

pub use check::check;
pub use error::{LoadError, TextError};
pub use kinds::{kinds, time_params};
pub use params::{Moment, Params, Value};
pub use problem::{Problem, Severity};
pub use render::Rendered;
pub use texts::{LAST_RESORT, Texts, Unnamed};
