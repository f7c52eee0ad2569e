//! `expire-fast`: ends what has run out and takes its credential off every Xray server, with proof. One pass, then exit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;

use expire_fast::Summary;
use expire_fast::flags::Flags;
use expire_fast::sessions::Sessions;
use perennial_boot::{
    Config, Context, Delivery, Entry, ExpireSection, Report, SettingError, Shown, or_none, shown_nodes, span,
};
use perennial_core::ending::{Brake, EndSettings, EndSummary, Ended};
use perennial_core::node::Node;
use perennial_core::pass::Pass;
use perennial_core::removal::{Part, RemovalSummary};
use perennial_xray::XrayNode;

/// What the settings say about this pass.
struct Settings {
    nodes: Vec<Node<XrayNode>>,
    grace: std::time::Duration,
    brake: Brake,
    on_removed: Vec<String>,
    delivery: Delivery,
}

impl Shown for Settings {
    fn shown(&self) -> Vec<Entry> {
        let Brake { max_ends, max_share } = &self.brake;
        let of_pass = [
            ("nodes", shown_nodes(&self.nodes)),
            ("grace", span(self.grace)),
            ("max_ends", or_none(max_ends.as_ref())),
            ("max_ends_share", max_share.to_string()),
            // Its arguments may hold a secret.
            ("on_removed", or_none(self.on_removed.first())),
        ];
        of_pass.into_iter().chain(self.delivery.shown()).collect()
    }
}

fn main() -> ExitCode {
    let flags: Flags = perennial_boot::parse();
    let section = ExpireSection {
        grace: flags.grace,
        max_ends: flags.max_ends,
        max_ends_share: flags.max_ends_share,
        ..ExpireSection::default()
    };
    perennial_boot::run(Pass::ExpireFast, &flags.common, |config| settings(&flags, section, config), pass)
}

fn settings(flags: &Flags, section: ExpireSection, config: &Config) -> Result<Settings, SettingError> {
    let section = section.or(&config.expire);
    Ok(Settings {
        nodes: flags.xray.clients(config)?,
        grace: section.grace().duration(),
        brake: Brake { max_ends: section.max_ends, max_share: section.max_ends_share() },
        on_removed: section.on_removed.unwrap_or_default(),
        delivery: flags.delivery.delivery(config)?,
    })
}

async fn pass(ctx: Context<Settings>) -> anyhow::Result<Report> {
    let observer = |ended: &Ended| {
        if ctx.dry_run {
            ctx.plan.line(format_args!("end subscription {} of user {}", ended.id, ended.telegram_id));
        } else {
            log::info!(subscription_id = ended.id.0; "ended");
        }
    };
    // Kept page by page: should the pass be stopped hard, the summary still says what was committed.
    let (so_far, parts) = (RefCell::new(Summary::default()), RefCell::new(BTreeMap::new()));
    let ended = |ended: &EndSummary| {
        so_far.borrow_mut().ended = ended.clone();
        ctx.interim.keep(&so_far.borrow().report());
    };
    let removed = |part: &Part| {
        parts.borrow_mut().insert(part.node.name.clone(), part.clone());
        so_far.borrow_mut().removals = RemovalSummary::of(parts.borrow().values().cloned());
        ctx.interim.keep(&so_far.borrow().report());
    };
    let settings = EndSettings {
        sources: &["trial", "payment", "grant"],
        grace: ctx.settings.grace,
        batch_rows: ctx.batch_rows,
        brake: ctx.settings.brake,
        limit: ctx.limit,
        observer: &observer,
        progress: &ended,
    };
    let sessions = Sessions::new(ctx.settings.on_removed, &ctx.deadline);
    let mut summary = Summary::default();
    let nodes = &ctx.settings.nodes;
    let outcome = expire_fast::run(&ctx.db, &ctx.deadline, nodes, settings, &sessions, &removed, &mut summary).await;
    summary.warnings.extend(sessions.warnings());
    let mut report = summary.report();
    ctx.interim.keep(&report);
    outcome?;
    ctx.settings.delivery.limited(ctx.limit).deliver_rest(&ctx.db, &ctx.deadline, &mut report).await?;
    Ok(report)
}
