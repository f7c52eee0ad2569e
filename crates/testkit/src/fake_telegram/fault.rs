//! What can be scripted to go wrong.

use std::borrow::Cow;
use std::time::Duration;

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The API itself says no; the message is not taken.
    Refuse(Refusal),
    /// 429, and every call is refused until the wait is over.
    Throttle {
        /// How long.
        seconds: u32,
        /// Where the answer says so.
        told: ToldWhere,
    },
    /// An HTML page with this status: a gateway in front of the API speaks. The message is not taken.
    Page(u16),
    /// 200 with a body that is no JSON; the message is taken.
    Garbage,
    /// 200, `ok`, but no message id; the message is taken.
    NoMessageId,
    /// No answer ever.
    HangBeforeAnswer {
        /// Whether the message is taken.
        taken: bool,
    },
    /// The head and half of the body, then nothing more; the message is taken.
    HangInBody,
    /// The connection is cut instead of an answer.
    Cut {
        /// Whether the message is taken.
        taken: bool,
    },
    /// The head and half of the body, then the connection is cut; the message is taken.
    CutInBody,
    /// The right answer, a byte at a time with a pause after each.
    Slow {
        /// The pause.
        pause: Duration,
    },
}

/// Where an answer 429 says how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldWhere {
    /// In body and header, as the real server does.
    Both,
    /// In `parameters.retry_after`.
    Body,
    /// In `Retry-After`.
    Header,
    /// Nowhere.
    Nowhere,
}

/// A failure in the API's own words: `{"ok":false,"error_code":…,"description":…}`, the status being the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status and `error_code`.
    pub code: u16,
    /// The text, prefix included.
    pub description: Cow<'static, str>,
    /// `parameters.migrate_to_chat_id`.
    pub migrate_to: Option<i64>,
}

impl Refusal {
    pub(super) const fn new(code: u16, description: &'static str) -> Self {
        Self { code, description: Cow::Borrowed(description), migrate_to: None }
    }
}

const fn refuse(code: u16, description: &'static str) -> Fault {
    Fault::Refuse(Refusal::new(code, description))
}

impl Fault {
    /// The user blocked the bot.
    pub const BLOCKED: Self = refuse(403, "Forbidden: bot was blocked by the user");
    /// The user deleted the account.
    pub const DEACTIVATED: Self = refuse(403, "Forbidden: user is deactivated");
    /// The user never wrote to the bot.
    pub const NEVER_STARTED: Self = refuse(403, "Forbidden: bot can't initiate conversation with a user");
    /// The bot was thrown out of a group.
    pub const KICKED: Self = refuse(403, "Forbidden: bot was kicked from the group chat");
    /// There is no such chat, or the bot never met it.
    pub const CHAT_NOT_FOUND: Self = refuse(400, "Bad Request: chat not found");
    /// The group does not let the bot write.
    pub const NO_RIGHTS: Self = refuse(400, "Bad Request: not enough rights to send text messages to the chat");
    /// The request names no chat.
    pub const CHAT_ID_EMPTY: Self = refuse(400, "Bad Request: chat_id is empty");
    /// The text is empty.
    pub const EMPTY: Self = refuse(400, "Bad Request: message text is empty");
    /// More than 4096 characters.
    pub const TOO_LONG: Self = refuse(400, "Bad Request: message is too long");
    /// The markup is broken.
    pub const CANNOT_PARSE: Self =
        refuse(400, "Bad Request: can't parse entities: Unsupported start tag \"p\" at byte offset 0");
    /// The button's link is none.
    pub const BAD_BUTTON: Self = refuse(400, "Bad Request: BUTTON_URL_INVALID");
    /// The token was revoked.
    pub const UNAUTHORISED: Self = refuse(401, "Unauthorized");
    /// No such method, or a token that cannot be one.
    pub const NOT_FOUND: Self = refuse(404, "Not Found");
    /// The API's own failure.
    pub const SERVER_ERROR: Self = refuse(500, "Internal Server Error: restart");

    /// The group became a supergroup with another id.
    #[must_use]
    pub fn moved_to(chat_id: i64) -> Self {
        let mut refusal = Refusal::new(400, "Bad Request: group chat was upgraded to a supergroup chat");
        refusal.migrate_to = Some(chat_id);
        Self::Refuse(refusal)
    }

    /// A 429 as the real server answers it.
    #[must_use]
    pub fn throttle(seconds: u32) -> Self {
        Self::Throttle { seconds, told: ToldWhere::Both }
    }

    /// One of every kind, for tests that must hold whatever goes wrong.
    #[must_use]
    pub fn every() -> Vec<Self> {
        let mut all = vec![
            Self::BLOCKED,
            Self::DEACTIVATED,
            Self::NEVER_STARTED,
            Self::KICKED,
            Self::CHAT_NOT_FOUND,
            Self::NO_RIGHTS,
            Self::CHAT_ID_EMPTY,
            Self::EMPTY,
            Self::TOO_LONG,
            Self::CANNOT_PARSE,
            Self::BAD_BUTTON,
            Self::UNAUTHORISED,
            Self::NOT_FOUND,
            Self::SERVER_ERROR,
            Self::moved_to(-1_001_234_567_890),
            Self::Garbage,
            Self::NoMessageId,
            Self::HangBeforeAnswer { taken: false },
            Self::HangBeforeAnswer { taken: true },
            Self::HangInBody,
            Self::Cut { taken: false },
            Self::Cut { taken: true },
            Self::CutInBody,
            Self::Slow { pause: Duration::from_millis(1) },
        ];
        all.extend([301, 400, 401, 403, 404, 429, 500, 502, 503, 504].map(Self::Page));
        let told = [ToldWhere::Both, ToldWhere::Body, ToldWhere::Header, ToldWhere::Nowhere];
        all.extend(told.map(|told| Self::Throttle { seconds: 1, told }));
        all
    }

    /// Whether the server took the message, whatever the client gets to hear.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        match self {
            Self::Refuse(_) | Self::Throttle { .. } | Self::Page(_) => false,
            Self::HangBeforeAnswer { taken } | Self::Cut { taken } => *taken,
            Self::Garbage | Self::NoMessageId | Self::HangInBody | Self::CutInBody | Self::Slow { .. } => true,
        }
    }
}
