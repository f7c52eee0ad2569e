//! The texts of claimed notices: what the settings say about texts, brought together with what PostgreSQL says about
//! the receiver's clock.

use perennial_core::db::{ClaimSettings, ClaimedNotice, QuietHours};
use perennial_core::delivery;
use perennial_core::ports::Button;
use perennial_core::time::Timestamp;
use perennial_texts::{LoadError, Moment, Params, Texts, kinds, time_params};
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::config::TextsSection;

/// For people whose zone is not known.
const DEFAULT_TIME_ZONE: &str = "UTC";

/// Writes the texts of claimed notices.
#[derive(Debug)]
pub struct NoticeTexts(Texts);

impl NoticeTexts {
    /// The texts that the settings name.
    ///
    /// # Errors
    /// Folder or file cannot be read, or the default language is no language tag.
    pub fn load(section: &TextsSection) -> Result<Self, LoadError> {
        Texts::load(section.folder.as_deref(), section.default_language.as_deref()).map(Self)
    }
}

impl delivery::Texts for NoticeTexts {
    fn render(&self, notice: &ClaimedNotice, now: Timestamp) -> Result<(String, Option<Button>), String> {
        let local = |name: &str| wall_time(notice.local_times.get(name)?.as_str()?);
        let local_now = local("now").ok_or("the receiver's local time is not known")?;
        let moment = Moment { at: now, local: local_now };
        let params =
            Params::from_json(&notice.kind, &notice.params, moment, local).map_err(|error| error.to_string())?;
        let language = notice.language.as_deref();
        let text = self.0.render(&notice.kind, language, &params).map_err(|error| error.to_string())?;
        Ok((text.html, text.button))
    }
}

/// What a claim has to know of the settings.
#[must_use]
pub fn claim_settings(section: &TextsSection) -> ClaimSettings {
    let mut time_names: Vec<String> = kinds().flat_map(time_params).map(str::to_owned).collect();
    time_names.sort();
    time_names.dedup();
    let zone = section.default_time_zone.clone();
    ClaimSettings {
        default_time_zone: zone.unwrap_or_else(|| DEFAULT_TIME_ZONE.to_owned()),
        quiet_hours: section.quiet_hours.as_ref().map(|hours| QuietHours { from: hours.from, until: hours.until }),
        time_params: time_names,
    }
}

fn wall_time(text: &str) -> Option<PrimitiveDateTime> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    PrimitiveDateTime::parse(text, &format).ok()
}
