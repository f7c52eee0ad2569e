//! What a setting may be, beyond its type: refused with setting, value and remedy.

use std::path::Path;

use super::Config;
use crate::limits::{self, Range};
use crate::setting::SettingError;

pub(super) fn config(config: &Config) -> Result<(), SettingError> {
    prefixes(config)?;
    for (name, section) in config.sections() {
        section.check(name)?;
        workers_fit_the_pool(config, name, section.workers)?;
    }
    in_range("database.pool_size", config.database.pool_size, limits::POOL_SIZE)?;
    in_range("telegram.rate_per_second", config.telegram.rate_per_second, limits::RATE_PER_SECOND)?;
    texts(config)?;
    config.renew.check()?;
    config.retention.check()?;
    graces(config)?;
    if let Some(stages) = &config.trials.stages {
        super::stages::check(stages)?;
    }
    super::nodes::check("node", &config.nodes)
}

pub(crate) fn in_range(setting: &str, value: Option<u32>, range: Range) -> Result<(), SettingError> {
    match value {
        Some(value) if !range.holds(value) => Err(SettingError::new(
            setting,
            value,
            "out of range",
            format!("write a number from {} to {}", range.least, range.most),
        )),
        _ => Ok(()),
    }
}

/// Names that stand in database columns, metric labels and keys; the schema holds the same rule.
pub(super) fn plain_name(setting: &str, name: &str) -> Result<(), SettingError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(SettingError::new(
        setting,
        format!("{name:?}"),
        "is no plain name",
        "write 1 to 64 letters, digits, dots, dashes and underscores",
    ))
}

/// A file that the program will read must be there and readable now, not in the middle of a pass.
pub(crate) fn readable(setting: &str, file: &Path) -> Result<String, SettingError> {
    std::fs::read_to_string(file).map_err(|error| {
        SettingError::new(
            setting,
            file.display(),
            format!("cannot be read ({error})"),
            "name a file that exists and that this user may read",
        )
    })
}

fn prefixes(config: &Config) -> Result<(), SettingError> {
    let own = &config.owner_prefix;
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'@' | b'-');
    if !(1..=32).contains(&own.len()) || !own.bytes().all(plain) {
        return Err(SettingError::new(
            "owner_prefix",
            format!("{own:?}"),
            "cannot begin an e-mail of ours",
            "write 1 to 32 lower-case letters, digits, dots, dashes, underscores or @",
        ));
    }
    for prefix in &config.protected_prefixes {
        if prefix.is_empty() || own.starts_with(prefix.as_str()) {
            return Err(SettingError::new(
                "protected_prefixes",
                format!("{prefix:?}"),
                format!("protects our own users ({own}…) too, so nobody would ever be removed"),
                "name only prefixes of others",
            ));
        }
    }
    Ok(())
}

fn workers_fit_the_pool(config: &Config, section: &str, workers: Option<u32>) -> Result<(), SettingError> {
    match (workers, config.database.pool_size) {
        (Some(workers), Some(pool_size)) => fits(&format!("{section}.workers"), workers, pool_size),
        _ => Ok(()),
    }
}

/// Each worker needs a connection of its own; one more is needed to list, and may be shared.
pub(crate) fn fits(setting: &str, workers: u32, pool_size: u32) -> Result<(), SettingError> {
    if workers <= pool_size {
        return Ok(());
    }
    Err(SettingError::new(
        setting,
        workers,
        format!("more workers than connections (database.pool_size = {pool_size})"),
        "lower workers or raise pool_size",
    ))
}

/// A row left to `renew` for longer than `renew` would charge it is served for nothing. Said only to who set it.
fn graces(config: &Config) -> Result<(), SettingError> {
    let renew = config.renew.grace();
    let Some(expire) = config.expire.grace.filter(|expire| *expire > renew) else {
        return Ok(());
    };
    Err(SettingError::new(
        "expire.grace",
        expire,
        format!("must not be longer than renew.grace ({renew}), after which renew charges nobody"),
        "set both to the same",
    ))
}

fn texts(config: &Config) -> Result<(), SettingError> {
    if let Some(language) = &config.texts.default_language {
        let mut parts = language.split('-');
        let first = parts.next().unwrap_or_default();
        let is_tag = (2..=8).contains(&first.len())
            && first.bytes().all(|byte| byte.is_ascii_alphabetic())
            && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if !is_tag {
            return Err(SettingError::new(
                "texts.default_language",
                format!("{language:?}"),
                "is no language tag",
                "write one such as ru or en-GB",
            ));
        }
    }
    if let Some(zone) = &config.texts.default_time_zone
        && (zone.is_empty() || !zone.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(SettingError::new(
            "texts.default_time_zone",
            format!("{zone:?}"),
            "is no time zone",
            "write an IANA name such as Europe/Moscow",
        ));
    }
    Ok(())
}
