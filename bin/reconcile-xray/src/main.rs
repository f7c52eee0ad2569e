//! `reconcile-xray`: compares every Xray server with the database and repairs the differences. One pass, then exit.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use perennial_boot::{
    Config, Context, Delivery, Entry, Missing, Mode, ReconcileSection, Report, SettingError, Shown, or_none,
    shown_nodes, span,
};
use perennial_core::node::Node;
use perennial_core::pass::Pass;
use perennial_core::reconcile::Owners;
use perennial_xray::XrayNode;
use reconcile_xray::brakes::Limits;
use reconcile_xray::flags::Flags;
use reconcile_xray::plan_file::{Item, PlanFile};
use reconcile_xray::{Absent, Effect, NodeSummary, Summary};

/// What the settings say about this pass.
struct Settings {
    nodes: Vec<Node<XrayNode>>,
    protected_prefixes: Vec<String>,
    owners: Owners,
    absent: Absent,
    orphan_grace: Duration,
    limits: Limits,
    effect: Effect,
    plan: Option<PathBuf>,
    delivery: Delivery,
}

impl Shown for Settings {
    fn shown(&self) -> Vec<Entry> {
        let Limits { max_removals, max_share } = &self.limits;
        let absent = match self.absent {
            Absent::Restore => "restore",
            Absent::Report => "report",
        };
        // Of a plan to be applied only its size.
        let effect = match &self.effect {
            Effect::All => "all that is found".to_owned(),
            Effect::Plan => format!("a plan in {}", self.plan.as_deref().unwrap_or(Path::new("no file")).display()),
            Effect::Planned(plan) => format!("{} items of a plan", plan.len()),
        };
        let of_pass = [
            ("nodes", shown_nodes(&self.nodes)),
            (
                "protected_prefixes",
                or_none(Some(self.protected_prefixes.join(" ")).filter(|all| !all.is_empty()).as_ref()),
            ),
            ("missing", absent.to_owned()),
            ("orphan_grace", span(self.orphan_grace)),
            ("max_removals", or_none(max_removals.as_ref())),
            ("max_removal_share", max_share.to_string()),
            ("effect", effect),
        ];
        of_pass.into_iter().chain(self.delivery.shown()).collect()
    }
}

fn main() -> ExitCode {
    let flags: Flags = perennial_boot::parse();
    perennial_boot::run(Pass::ReconcileXray, &flags.common, |config| settings(&flags, config), pass)
}

fn settings(flags: &Flags, config: &Config) -> Result<Settings, SettingError> {
    let section = ReconcileSection {
        missing: flags.missing,
        orphan_grace: flags.orphan_grace,
        max_removals: flags.max_removals,
        max_removal_share: flags.max_removal_share,
        ..ReconcileSection::default()
    };
    let section = section.or(&config.reconcile);
    let mut nodes = flags.xray.clients(config)?;
    if let Some(name) = &flags.node {
        let known: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        nodes.retain(|node| node.name == *name);
        if nodes.is_empty() {
            let problem = format!("is no node of the settings, which are: {}", known.join(", "));
            return Err(SettingError::new("--node", name, problem, "write the name of one of them"));
        }
    }
    let mode = flags.common.mode.or(config.reconcile.mode).unwrap_or_default();
    if let (Mode::Observe, Some(file)) = (mode, &flags.apply) {
        let problem = "cannot be done in mode observe, which has no effect";
        return Err(SettingError::new("--apply", file.display(), problem, "add --mode full"));
    }
    let effect =
        match (&flags.plan, &flags.apply) {
            (Some(_), _) => Effect::Plan,
            (None, Some(file)) => Effect::Planned(PlanFile::read(file).map_err(|problem| {
                SettingError::new("--apply", file.display(), problem, "make a new plan with --plan")
            })?),
            (None, None) => Effect::All,
        };
    Ok(Settings {
        nodes,
        protected_prefixes: config.protected_prefixes.clone(),
        owners: Owners::new(&config.owner_prefix, &config.protected_prefixes),
        absent: match section.missing() {
            Missing::Restore => Absent::Restore,
            Missing::Report => Absent::Report,
        },
        orphan_grace: section.orphan_grace().duration(),
        limits: Limits { max_removals: section.max_removals, max_share: section.max_removal_share() },
        effect,
        plan: flags.plan.clone(),
        delivery: flags.delivery.delivery(config)?,
    })
}

async fn pass(ctx: Context<Settings>) -> anyhow::Result<Report> {
    // Kept node by node: should the pass be stopped hard, the summary still says what was done.
    let so_far = RefCell::new(Summary::default());
    let on_node = |node: &NodeSummary| {
        so_far.borrow_mut().nodes.push(node.clone());
        ctx.interim.keep(&so_far.borrow().report());
        ctx.progress.advance(node.listed);
    };
    let on_item = |node: &str, item: &Item| ctx.plan.line(plan_line(node, item));
    let Settings { nodes, owners, absent, orphan_grace, limits, effect, plan, delivery, .. } = ctx.settings;
    let is_planning = matches!(effect, Effect::Plan);
    let settings = reconcile_xray::Settings {
        owners,
        absent,
        orphan_grace,
        limits,
        batch_rows: ctx.batch_rows,
        effect,
        limit: ctx.limit,
        on_item: &on_item,
        on_node: &on_node,
    };
    let mut summary = Summary::default();
    let outcome = reconcile_xray::run(&ctx.db, &ctx.deadline, &nodes, &settings, &mut summary).await;
    let mut report = summary.report();
    ctx.interim.keep(&report);
    outcome?;
    if let (Some(made), Some(file)) = (&summary.plan, &plan) {
        made.write(file).with_context(|| format!("the plan cannot be written to {}", file.display()))?;
        log::info!(items = made.len(), file:% = file.display(); "the plan was written");
    }
    if !is_planning {
        delivery.limited(ctx.limit).deliver_rest(&ctx.db, &ctx.deadline, &mut report).await?;
    }
    Ok(report)
}

fn plan_line(node: &str, item: &Item) -> String {
    let Item { inbound, email, action, reason, .. } = item;
    format!("node {node} inbound {inbound}: {action} {email} ({})", reason.replace('_', " "))
}
