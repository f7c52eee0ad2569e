//! `demo`: fills a new database with a made-up service, runs the real `renew` on it twice, checks the books, and, with Xray
//! servers given, lets the other passes serve them, end what is over and heal a drift.
//!
//! The people are made by set-based SQL beside this file: the same seed makes the same people, their times counted from
//! now. They carry Telegram ids that no real user has, and `renew` is run with settings of the demo's own and without
//! delivery, so nobody is ever written to. A database that holds anybody else is refused.

mod access;
mod figures;
mod made_up;
mod messages;
mod programs;

use std::io;

use perennial_boot::{Exit, Output};
use perennial_core::ids::TelegramId;
use perennial_core::operator;
use perennial_core::pass::Pass;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::checks::CHECKS;
use crate::cli;
use crate::explain::explain;
use crate::failure::Failure;
use crate::output::{Answer, counted, say};
use crate::session::Session;
use crate::{migrate, verify};

use figures::Figures;
pub use made_up::fill;
use programs::Programs;

/// Megabytes for each sort and hash table of the checks.
const WORK_MEM: u32 = 128;

/// Runs the command.
///
/// # Errors
/// Exit code 4 for a database that holds others than the demo's people, 78 without the passes beside this program, 1 when
/// what the demo shows is not so.
pub async fn run(session: &Session, call: cli::Demo) -> Result<Answer, Failure> {
    let stage = Stage { shown: session.output == Output::Text };
    let client = session.connect_directly().await?;
    made_up::must_be_new(&client).await?;
    let nodes = call.xray.clients(&session.config)?;
    // Without servers there is nothing to show but the charging.
    let needed = if nodes.is_empty() { &[Pass::Renew][..] } else { &Pass::ALL };
    let programs = Programs::beside_this_program(session, needed)?;
    stage.heading("A new database")?;
    let migrated = migrate::migrate(session, None).await?;
    stage.say(&format!("{} applied\n", counted(migrated.applied.len() as u64, "migration")))?;
    let first = made_up::fill(&client, &call).await?;
    stage.say(&format!("{} people made up, with seed {}\n", call.users, call.seed))?;
    stage.say(&made_up::table(&client, first).await?)?;
    let shown = show(session, &stage, &client, &programs, first).await?;
    let served = access::show(session, &stage, &client, &programs, &nodes).await?;
    Ok(answer(&call, &shown, served.as_ref()))
}

/// What the demo showed.
struct Shown {
    runs: Vec<programs::Run>,
    figures: [Figures; 3],
    verdicts: Vec<verify::Verdict>,
    told: Value,
    messages: Value,
}

async fn show(
    session: &Session,
    stage: &Stage,
    client: &Client,
    programs: &Programs,
    first: TelegramId,
) -> Result<Shown, Failure> {
    let before = Figures::read(client).await?;
    stage.heading("renew: one pass")?;
    let first_run = programs.run(stage, Pass::Renew)?;
    let after = Figures::read(client).await?;
    stage.heading("Before and after")?;
    stage.say(&before.compared(&after))?;

    stage.heading("renew: once more")?;
    let second_run = programs.run(stage, Pass::Renew)?;
    let again = Figures::read(client).await?;
    let same = if again == after {
        "nothing was done twice: every figure is as before\n".to_owned()
    } else {
        after.compared(&again)
    };
    stage.say(&same)?;

    stage.heading("The messages customers would have got")?;
    let messages = messages::read(client, &session.reader().await?, first).await?;
    stage.say(&messages.text)?;

    stage.heading("The books")?;
    let verdicts = verify::run_all(client, CHECKS, WORK_MEM, |verdict| stage.write(&verify::lines(verdict))).await?;

    let mut told = Value::Null;
    if let Some(user) = made_up::renewed_just_now(client, first).await? {
        stage.heading(&format!("The story of one customer ({})", operator::command("explain").trim_matches('`')))?;
        let window = session.config.renew.window().duration();
        let story = explain(&session.reader().await?, user, 1000, window).await?;
        stage.say(&story.text)?;
        told = story.json;
    }
    Ok(Shown {
        runs: vec![first_run, second_run],
        figures: [before, after, again],
        verdicts,
        told,
        messages: messages.json,
    })
}

fn answer(call: &cli::Demo, shown: &Shown, served: Option<&access::Served>) -> Answer {
    let [before, after, again] = &shown.figures;
    let good = shown.verdicts.iter().all(verify::Verdict::is_good) && after == again && before != after;
    let good = good && served.is_none_or(access::Served::is_good);
    let end = if good {
        let admin = operator::program();
        format!(
            "\nEverything is as it should be. On a database of your own: {admin} explain, {admin} parked, renew --dry-run.\n"
        )
    } else {
        "\nThis is not as it should be: something was done twice, nothing was done, or the books are broken.\n"
            .to_owned()
    };
    let json = json!({
        "users": call.users,
        "seed": call.seed,
        "before": before.json(),
        "after": after.json(),
        "after_the_second_run": again.json(),
        "renew": shown.runs.iter().map(programs::Run::json).collect::<Vec<_>>(),
        "verify": verify::answer(&shown.verdicts).json,
        "explain": shown.told,
        "messages": shown.messages,
        "access": served.map(access::Served::json),
        "good": good,
    });
    Answer { exit: if good { Exit::Done } else { Exit::Unforeseen }, ..Answer::new(end, json) }
}

/// Where the demo is shown as it goes on; with `--output json` it is not.
struct Stage {
    shown: bool,
}

impl Stage {
    fn heading(&self, title: &str) -> Result<(), Failure> {
        self.say(&format!("\n== {title}\n"))
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        self.write(text).map_err(|error| Failure::unforeseen(format!("cannot write to standard output: {error}")))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        if self.shown { say(text) } else { Ok(()) }
    }
}
