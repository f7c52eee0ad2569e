//! `notify-trials`: sends due trial reminders and ends trials that are over. One pass, then exit.

use std::process::ExitCode;

use notify_trials::flags::Flags;
use notify_trials::plan::{Moment, Stage};
use notify_trials::{Reminded, Settings, Summary};
use perennial_boot::{
    Config, Context, Delivery, DeliveryOptions, Entry, Notices, Report, SettingError, Shown, StageMoment,
    TrialsSection, left_at_least, or_none, span,
};
use perennial_core::ending::{Brake, EndSettings, Ended};
use perennial_core::pass::Pass;

/// Failed tries after which a row is parked.
const MAX_TRIES: i32 = 3;

/// What the settings say about this pass.
struct Trials {
    stages: Vec<Stage>,
    brake: Option<Brake>,
    delivery: Delivery,
}

impl Shown for Trials {
    fn shown(&self) -> Vec<Entry> {
        let stage = |Stage { name, moment }: &Stage| match moment {
            Moment::AfterStart(after) => format!("{name}: {} after the start", span(*after)),
            Moment::BeforeEnd(before) => format!("{name}: {} before the end", span(*before)),
        };
        let stages: Vec<String> = self.stages.iter().map(stage).collect();
        let mut shown = vec![("stages", stages.join(", ")), ("no_end", self.brake.is_none().to_string())];
        if let Some(Brake { max_ends, max_share }) = &self.brake {
            shown.push(("max_ends", or_none(max_ends.as_ref())));
            shown.push(("max_ends_share", max_share.to_string()));
        }
        shown.extend(self.delivery.shown());
        shown
    }
}

fn main() -> ExitCode {
    let flags: Flags = perennial_boot::parse();
    let section = TrialsSection { no_end: flags.no_end.then_some(true), ..TrialsSection::default() };
    perennial_boot::run(Pass::NotifyTrials, &flags.common, |config| trials(section, &flags.delivery, config), pass)
}

fn trials(flags: TrialsSection, delivery: &DeliveryOptions, config: &Config) -> Result<Trials, SettingError> {
    let section = flags.or(&config.trials);
    let stage = |stage: perennial_boot::TrialStage| {
        let moment = match stage.moment()? {
            StageMoment::AfterStart(after) => Moment::AfterStart(after.duration()),
            StageMoment::BeforeEnd(before) => Moment::BeforeEnd(before.duration()),
        };
        Some(Stage { name: stage.name, moment })
    };
    let stages = section.stages().into_iter().filter_map(stage).collect();
    let brake = Brake { max_ends: config.expire.max_ends, max_share: config.expire.max_ends_share() };
    let ends = !section.no_end.unwrap_or(false);
    Ok(Trials { stages, brake: ends.then_some(brake), delivery: delivery.delivery(config)? })
}

async fn pass(ctx: Context<Trials>) -> anyhow::Result<Report> {
    let observer = |ended: &Ended| {
        if ctx.dry_run {
            ctx.plan.line(format_args!("end trial {} of user {}", ended.id, ended.telegram_id));
        } else {
            log::info!(subscription_id = ended.id.0; "trial ended");
        }
    };
    let reminded = |reminded: &Reminded| {
        let Reminded { id, telegram_id, stage } = reminded;
        if ctx.dry_run {
            ctx.plan.line(format_args!("remind user {telegram_id} of trial {id}: {stage}"));
        } else {
            log::info!(subscription_id = id.0, stage = stage.as_str(); "trial reminded");
        }
    };
    // Kept page by page: should the pass be stopped hard, the summary still says what was committed.
    let so_far = |so_far: &Summary| ctx.interim.keep(&report(so_far));
    let settings = Settings {
        observer: &reminded,
        progress: &so_far,
        stages: &ctx.settings.stages,
        batch_rows: ctx.batch_rows,
        max_tries: MAX_TRIES,
        limit: ctx.limit,
        end: ctx.settings.brake.map(|brake| EndSettings {
            sources: &["trial"],
            // Trials are never renewed: there is nothing to leave to `renew`.
            grace: std::time::Duration::ZERO,
            batch_rows: ctx.batch_rows,
            brake,
            limit: None,
            observer: &observer,
            progress: &|_| {},
        }),
    };
    let mut summary = Summary::default();
    let outcome = notify_trials::run(&ctx.db, &ctx.deadline, &settings, &mut summary).await;
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
            ("reminded", summary.reminded),
            ("superseded", summary.superseded),
            ("ended", summary.ended),
            ("busy", summary.busy),
            ("failed", summary.failed),
            ("left", summary.left),
        ],
        oldest_due_seconds: summary.oldest_due.as_secs(),
        notices: Notices { written: summary.notices_written, ..Notices::default() },
        warnings: summary.left_at_least.then(|| left_at_least(summary.left)).into_iter().collect(),
        cut_short: summary.cut_short,
        at_limit: summary.at_limit,
        refused_because: summary.refused.clone(),
        ..Report::empty(Pass::NotifyTrials)
    }
}
