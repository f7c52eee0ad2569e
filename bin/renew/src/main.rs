//! `renew`: charges due subscriptions from their wallets and extends them. One pass, then exit.

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Duration;

use perennial_boot::{
    Config, Context, Delivery, DeliveryOptions, Entry, Notices, RenewSection, Report, SettingError, Shown, Span,
    left_at_least, or_none, span,
};
use perennial_core::db::RenewalBounds;
use perennial_core::pass::Pass;
use perennial_core::time::Timestamp;
use renew::flags::Flags;
use renew::{Outcome, RenewPass, Settings, Summary};
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;

/// Failed tries after which a row is parked.
const MAX_TRIES: i32 = 3;

/// What the settings say about this pass.
struct InForce {
    bounds: RenewalBounds,
    charge_notice: Option<Duration>,
    delivery: Delivery,
}

impl Shown for InForce {
    fn shown(&self) -> Vec<Entry> {
        let of_pass = [
            ("window", span(self.bounds.window)),
            ("grace", span(self.bounds.grace)),
            ("charge_notice", or_none(self.charge_notice.map(span).as_ref())),
        ];
        of_pass.into_iter().chain(self.delivery.shown()).collect()
    }
}

fn main() -> ExitCode {
    let flags: Flags = perennial_boot::parse();
    let section = RenewSection {
        window: flags.window,
        grace: flags.grace,
        charge_notice: flags.charge_notice,
        ..RenewSection::default()
    };
    perennial_boot::run(Pass::Renew, &flags.common, |config| in_force(section, &flags.delivery, config), pass)
}

fn in_force(flags: RenewSection, delivery: &DeliveryOptions, config: &Config) -> Result<InForce, SettingError> {
    let section = flags.or(&config.renew);
    section.check()?;
    let bounds = RenewalBounds { window: section.window().duration(), grace: section.grace().duration() };
    let charge_notice = section.charge_notice.map(Span::duration);
    Ok(InForce { bounds, charge_notice, delivery: delivery.delivery(config)? })
}

async fn pass(ctx: Context<InForce>) -> anyhow::Result<Report> {
    let settings = Settings {
        bounds: ctx.settings.bounds,
        batch_rows: ctx.batch_rows,
        workers: ctx.workers,
        max_tries: MAX_TRIES,
        charge_notice: ctx.settings.charge_notice,
        limit: ctx.limit,
    };
    // Kept row by row: should the pass be stopped hard, the summary still says what was committed.
    let so_far = RefCell::new(Summary::default());
    let observer = |outcome: &Outcome| {
        ctx.progress.advance(1);
        let mut so_far = so_far.borrow_mut();
        so_far.count(outcome);
        match outcome {
            Outcome::Announced { .. } => so_far.notices_written += 1,
            // A held row is told of again at its second try.
            Outcome::Busy(_) => {}
            _ => so_far.listed += 1,
        }
        ctx.interim.keep(&report(&so_far));
        if ctx.plan.is_shown() {
            ctx.plan.line(plan_line(outcome));
        }
    };
    let mut summary = Summary::default();
    let pass = RenewPass { db: &ctx.db, deadline: &ctx.deadline, settings, observer: &observer };
    let outcome = pass.run(&mut summary).await;
    let mut report = report(&summary);
    ctx.interim.keep(&report);
    outcome?;
    ctx.settings.delivery.limited(ctx.limit).deliver_rest(&ctx.db, &ctx.deadline, &mut report).await?;
    Ok(report)
}

fn report(summary: &Summary) -> Report {
    Report {
        counts: vec![
            ("listed", summary.listed),
            ("renewed", summary.renewed),
            ("short", summary.short),
            ("parked", summary.parked),
            ("busy", summary.busy),
            ("failed", summary.failed),
            ("left", summary.left),
        ],
        charged: Some(summary.charged),
        oldest_due_seconds: summary.oldest_due.as_secs(),
        notices: Notices { written: summary.notices_written, ..Notices::default() },
        warnings: summary.left_at_least.then(|| left_at_least(summary.left)).into_iter().collect(),
        cut_short: summary.cut_short,
        at_limit: summary.at_limit,
        ..Report::empty(Pass::Renew)
    }
}

/// RFC 3339 in UTC, whole seconds.
fn moment(at: Timestamp) -> String {
    at.truncate_to_second().to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

fn plan_line(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Renewed { id, telegram_id, amount, until } => {
            let (amount, until) = (amount.in_rubles(), moment(*until));
            format!("renew subscription {id} of user {telegram_id} for {amount} RUB until {until}")
        }
        Outcome::Short { id, telegram_id, missing, .. } => {
            format!("leave subscription {id} of user {telegram_id}: {} RUB are missing", missing.in_rubles())
        }
        Outcome::Parked { id, reason } => format!("park subscription {id}: {reason}"),
        Outcome::Failed { id, reason, .. } => format!("fail on subscription {id}: {reason}"),
        Outcome::Busy(key) => format!("skip subscription {}: held by somebody else", key.id),
        Outcome::Announced { id, telegram_id, amount, charge_at } => {
            let (amount, charge_at) = (amount.in_rubles(), moment(*charge_at));
            format!("tell user {telegram_id} that {amount} RUB are charged for subscription {id} at {charge_at}")
        }
    }
}
