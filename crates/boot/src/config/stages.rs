//! When trials are reminded.

use serde::Deserialize;

use super::check;
use crate::setting::SettingError;
use crate::span::Span;

/// One reminder of a trial, as the settings file writes it: `{ name = "71h", before = "1h" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialStage {
    /// Names the text and stands in the notice's key: renaming a stage sends it again.
    pub name: String,
    /// So long after the trial's start.
    pub after: Option<Span>,
    /// So long before the trial's end.
    pub before: Option<Span>,
}

/// The moment of a reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageMoment {
    /// So long after the trial's start.
    AfterStart(Span),
    /// So long before the trial's end.
    BeforeEnd(Span),
}

impl TrialStage {
    /// The moment, where exactly one is given.
    #[must_use]
    pub fn moment(&self) -> Option<StageMoment> {
        match (self.after, self.before) {
            (Some(after), None) => Some(StageMoment::AfterStart(after)),
            (None, Some(before)) => Some(StageMoment::BeforeEnd(before)),
            _ => None,
        }
    }

    /// The stages of a 72 h trial, used when the settings name none.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let stage = |name: &str, after: Option<u64>, before: Option<u64>| Self {
            name: name.to_owned(),
            after: after.map(|hours| Span::seconds(hours * 3_600)),
            before: before.map(|hours| Span::seconds(hours * 3_600)),
        };
        vec![stage("6h", Some(6), None), stage("60h", None, Some(12)), stage("71h", None, Some(1))]
    }
}

impl super::TrialsSection {
    /// The stages in force.
    #[must_use]
    pub fn stages(&self) -> Vec<TrialStage> {
        self.stages.clone().unwrap_or_else(TrialStage::defaults)
    }
}

pub(super) fn check(stages: &[TrialStage]) -> Result<(), SettingError> {
    for (index, stage) in stages.iter().enumerate() {
        let key = format!("trials.stages[{}]", index + 1);
        check::plain_name(&format!("{key}.name"), &stage.name)?;
        if stages[..index].iter().any(|earlier| earlier.name == stage.name) {
            return Err(SettingError::new(
                format!("{key}.name"),
                &stage.name,
                "names two stages",
                "give each stage a name of its own",
            ));
        }
        if stage.moment().is_none() {
            return Err(SettingError::new(
                key,
                &stage.name,
                "needs one moment",
                "give either after (the start) or before (the end)",
            ));
        }
    }
    Ok(())
}
