//! `tariff set` and `tariff list`.

use perennial_core::db::NewAudit;
use perennial_core::db::admin::{PeriodUnit, Tariff};
use perennial_core::money::Kopecks;
use perennial_core::operator;
use perennial_texts::Texts;
use serde_json::{Value, json};

use crate::cli::TariffSet;
use crate::failure::Failure;
use crate::output::{Answer, rubles, table};
use crate::session::Session;
use crate::texts;

/// Lists all tariffs.
///
/// # Errors
/// The database's.
pub async fn list(session: &Session) -> Result<Answer, Failure> {
    let db = session.reader().await?;
    let tariffs = db.run_tx("list_tariffs", async |tx| tx.list_tariffs().await).await?;
    let json = json!({ "tariffs": tariffs.iter().map(as_json).collect::<Vec<_>>() });
    if tariffs.is_empty() {
        let text = format!("there are no tariffs; {} writes one\n", operator::command("tariff set"));
        return Ok(Answer::new(text, json));
    }
    let mut rows = vec![["code", "group", "period", "price", "sold"].map(str::to_owned).to_vec()];
    rows.extend(tariffs.iter().map(|tariff| {
        let sold = if tariff.active { "yes" } else { "withdrawn" };
        vec![tariff.code.clone(), tariff.access_group.clone(), period(tariff), rubles(tariff.price), sold.to_owned()]
    }));
    Ok(Answer::new(table(&rows, &[3]), json))
}

/// Writes a tariff and an audit row with what it was and is.
///
/// # Errors
/// Exit code 2 when a new tariff lacks price or period; refused: a code, group, period or price that cannot be.
pub async fn set(session: &Session, set: TariffSet) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let written = db
        .run_tx("set_tariff", async |tx| {
            let before = tx.lock_tariff(&set.code).await?;
            let Some(after) = merged(&set, before.as_ref()) else { return Ok(None) };
            if before.as_ref() != Some(&after) {
                tx.put_tariff(&after).await?;
                tx.insert_audit(&[NewAudit {
                    action: "tariff_set",
                    telegram_id: None,
                    subscription_id: None,
                    before: before.as_ref().map(as_json),
                    after: Some(as_json(&after)),
                    reason: None,
                }])
                .await?;
            }
            Ok(Some((before, after)))
        })
        .await?;
    let (before, after) = written.ok_or_else(|| {
        Failure::usage(format!("tariff {} is new", set.code)).with_hint("give --price-kopecks and --months or --days")
    })?;
    let said = match &before {
        None => "is new",
        Some(before) if *before == after => "is as it was",
        Some(_) => "is changed",
    };
    let mut text = format!("tariff {} {said}\n{}", after.code, difference(before.as_ref(), &after));
    text.extend(name_wanted(session, &after));
    Ok(Answer::new(text, json!({ "before": before.as_ref().map(as_json), "after": as_json(&after) })))
}

/// Codes of the tariffs that are sold.
///
/// # Errors
/// The database's.
pub async fn sold(session: &Session) -> Result<Vec<String>, Failure> {
    let db = session.reader().await?;
    let tariffs = db.run_tx("list_tariffs", async |tx| tx.list_tariffs().await).await?;
    Ok(tariffs.into_iter().filter(|tariff| tariff.active).map(|tariff| tariff.code).collect())
}

/// What to write, so that customers read a name. Texts that cannot be read are the matter of `texts check`.
fn name_wanted(session: &Session, tariff: &Tariff) -> Option<String> {
    let settings = &session.config.texts;
    let texts = Texts::load(settings.folder.as_deref(), settings.default_language.as_deref()).ok()?;
    let unnamed = texts.unnamed(&tariff.code);
    tariff.active.then(|| texts::advice(&tariff.code, &unnamed, settings.folder.as_deref())).flatten()
}

/// The tariff as it is to be; none: it is new and something is missing.
fn merged(set: &TariffSet, before: Option<&Tariff>) -> Option<Tariff> {
    let period = match (set.months, set.days) {
        (Some(months), _) => Some((PeriodUnit::Month, months)),
        (None, Some(days)) => Some((PeriodUnit::Day, days)),
        (None, None) => before.map(|tariff| (tariff.period_unit, tariff.period_count)),
    };
    let (period_unit, period_count) = period?;
    let group = set.group.clone().or_else(|| before.map(|tariff| tariff.access_group.clone()));
    Some(Tariff {
        code: set.code.clone(),
        access_group: group.unwrap_or_else(|| "basic".to_owned()),
        period_unit,
        period_count,
        price: set.price_kopecks.map(Kopecks).or(before.map(|tariff| tariff.price))?,
        active: set.sell || (!set.withdraw && before.is_none_or(|tariff| tariff.active)),
    })
}

/// A line a property, what it was in front where that is something else.
fn difference(before: Option<&Tariff>, after: &Tariff) -> String {
    let properties = |tariff: &Tariff| {
        let sold = if tariff.active { "yes" } else { "withdrawn" };
        [rubles(tariff.price), period(tariff), tariff.access_group.clone(), sold.to_owned()]
    };
    let old = before.map(properties);
    let mut text = String::new();
    for (index, (name, new)) in ["price", "period", "group", "sold"].into_iter().zip(properties(after)).enumerate() {
        let old = old.as_ref().map(|old| &old[index]).filter(|old| **old != new);
        let old = old.map(|old| format!("{old} → ")).unwrap_or_default();
        text.push_str(&format!("  {name:<7} {old}{new}\n"));
    }
    text
}

fn period(tariff: &Tariff) -> String {
    let unit = tariff.period_unit.name();
    format!("{} {unit}{}", tariff.period_count, if tariff.period_count == 1 { "" } else { "s" })
}

fn as_json(tariff: &Tariff) -> Value {
    json!({
        "code": tariff.code,
        "access_group": tariff.access_group,
        "period_unit": tariff.period_unit.name(),
        "period_count": tariff.period_count,
        "price_kopecks": tariff.price.0,
        "active": tariff.active,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: TariffSet = TariffSet {
        code: String::new(),
        price_kopecks: None,
        months: None,
        days: None,
        group: None,
        withdraw: false,
        sell: false,
    };

    fn standing() -> Tariff {
        Tariff {
            code: "t".to_owned(),
            access_group: "plus".to_owned(),
            period_unit: PeriodUnit::Month,
            period_count: 3,
            price: Kopecks(100),
            active: true,
        }
    }

    fn set() -> TariffSet {
        TariffSet { code: "t".to_owned(), ..NOTHING }
    }

    #[test]
    fn what_is_not_given_stays() {
        let standing = standing();
        assert_eq!(merged(&set(), Some(&standing)), Some(standing.clone()));
        let cheaper = TariffSet { price_kopecks: Some(0), ..set() };
        assert_eq!(merged(&cheaper, Some(&standing)), Some(Tariff { price: Kopecks(0), ..standing.clone() }));
        let in_days = merged(&TariffSet { days: Some(30), ..set() }, Some(&standing)).unwrap();
        assert_eq!((in_days.period_unit, in_days.period_count), (PeriodUnit::Day, 30));
    }

    #[test]
    fn a_new_one_needs_price_and_period() {
        let priced = TariffSet { price_kopecks: Some(5), ..set() };
        assert_eq!(merged(&priced, None), None);
        assert_eq!(merged(&TariffSet { days: Some(1), ..set() }, None), None);
        let whole = merged(&TariffSet { months: Some(1), ..priced }, None).unwrap();
        assert_eq!((whole.access_group.as_str(), whole.active), ("basic", true));
    }

    #[test]
    fn withdrawn_stays_withdrawn_until_it_is_sold_again() {
        let withdrawn = Tariff { active: false, ..standing() };
        for (withdraw, sell, before, active) in [
            (false, false, &withdrawn, false),
            (false, true, &withdrawn, true),
            (true, false, &standing(), false),
            (false, false, &standing(), true),
        ] {
            assert_eq!(merged(&TariffSet { withdraw, sell, ..set() }, Some(before)).unwrap().active, active);
        }
    }
}
