//! `[retention]`: how long is kept what `perennial prune` trims.

use serde::Deserialize;

use crate::setting::SettingError;
use crate::span::Span;

const DAY: u64 = 86_400;

/// `[retention]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// How long runs are kept, at least 1d; default 90d. The newest run of a pass stays.
    pub runs: Option<Span>,
    /// How long notices that were sent or dropped are kept, at least 30d; default 400d. Those whose key is needed stay.
    pub notices: Option<Span>,
    /// How long audit rows that are not about money are kept, at least 180d; default for ever. Those about money stay.
    pub audit: Option<Span>,
}

impl RetentionSection {
    /// These ages, with those of flags above them.
    #[must_use]
    pub fn or(self, runs: Option<Span>, notices: Option<Span>, audit: Option<Span>) -> Self {
        Self { runs: runs.or(self.runs), notices: notices.or(self.notices), audit: audit.or(self.audit) }
    }

    /// How long runs are kept.
    #[must_use]
    pub fn runs(&self) -> Span {
        self.runs.unwrap_or(Span::seconds(90 * DAY))
    }

    /// How long notices are kept.
    #[must_use]
    pub fn notices(&self) -> Span {
        self.notices.unwrap_or(Span::seconds(400 * DAY))
    }

    /// Refuses what would delete what is still asked about.
    ///
    /// # Errors
    /// Names the setting, its value and the remedy.
    pub fn check(&self) -> Result<(), SettingError> {
        for (setting, age, least) in [
            ("retention.runs", Some(self.runs()), Span::seconds(DAY)),
            ("retention.notices", Some(self.notices()), Span::seconds(30 * DAY)),
            ("retention.audit", self.audit, Span::seconds(180 * DAY)),
        ] {
            if let Some(age) = age.filter(|age| *age < least) {
                return Err(SettingError::new(
                    setting,
                    age,
                    "too short: it is still asked about",
                    format!("write {least} or more"),
                ));
            }
        }
        Ok(())
    }
}
