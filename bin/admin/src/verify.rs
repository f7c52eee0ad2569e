//! `verify`: runs the checks of the books and shows what breaks them.
//!
//! Each check sees one snapshot of the database and writes nothing; the service goes on meanwhile. The rows that break
//! an invariant are streamed, so that a broken service of millions does not fill this program's memory. A check that
//! cannot be run is told like one that is broken, and the others are run all the same.

use std::time::Duration;
use std::time::Instant;

use futures_util::{TryStreamExt, pin_mut};
use perennial_boot::{Exit, Output};
use perennial_core::schema;
use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::checks::{CHECKS, Check};
use crate::failure::{Failure, in_one_line};
use crate::output::{Answer, counted, say};
use crate::session::Session;
use crate::{FOUND, cli};

/// Rows of one check that are shown; the rest is counted.
const ROWS_SHOWN: usize = 20;

/// What a check found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Rows that break the invariant.
    pub rows: u64,
    /// The first of them: subject and problem.
    pub shown: Vec<(String, String)>,
    /// How long it took.
    pub took: Duration,
}

/// A check and what came of it.
#[derive(Debug)]
pub struct Verdict {
    /// The check.
    pub check: Check,
    /// What it found, or why it could not be run.
    pub outcome: Result<Finding, String>,
}

impl Verdict {
    /// The books are right as far as this check looks.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|finding| finding.rows == 0)
    }
}

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a check that is none, 69 and 78 as everywhere. What the checks find is an answer with exit code 3.
pub async fn run(session: &Session, call: cli::Verify) -> Result<Answer, Failure> {
    let checks = wanted(&call.checks)?;
    session.reader().await?;
    let client = session.connect_directly().await?;
    let show = |verdict: &Verdict| match session.output {
        Output::Text => say(&lines(verdict)),
        Output::Json => Ok(()),
    };
    let verdicts = run_all(&client, &checks, call.work_mem, show).await?;
    Ok(answer(&verdicts))
}

/// Runs checks one after the other; `show` is told of each as it is done.
///
/// # Errors
/// The connection is lost, or `show` failed.
pub async fn run_all(
    client: &Client,
    checks: &[Check],
    work_mem: u32,
    show: impl Fn(&Verdict) -> std::io::Result<()>,
) -> Result<Vec<Verdict>, Failure> {
    let mut verdicts = Vec::with_capacity(checks.len());
    for check in checks {
        let outcome = match run_one(client, *check, work_mem).await {
            Ok(finding) => Ok(finding),
            Err(error) if client.is_closed() => return Err(Failure::of_driver(check.name, &error)),
            Err(error) => Err(in_one_line(&error)),
        };
        let verdict = Verdict { check: *check, outcome };
        show(&verdict).map_err(|error| Failure::unforeseen(format!("cannot write what was found: {error}")))?;
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// Runs one check in a snapshot of its own. Its memory is local to the transaction, so a pooler carries nothing over.
async fn run_one(client: &Client, check: Check, work_mem: u32) -> Result<Finding, tokio_postgres::Error> {
    let opening = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
         SET LOCAL work_mem = '{work_mem}MB'; SET LOCAL search_path = public; SET LOCAL jit = off"
    );
    let began = Instant::now();
    client.batch_execute(&opening).await?;
    let found = find(client, check.sql).await;
    // A transaction that failed ends here as well; a lost connection is told by the query's own error.
    let ended = client.batch_execute("ROLLBACK").await;
    let (rows, shown) = found?;
    ended?;
    Ok(Finding { rows, shown, took: began.elapsed() })
}

async fn find(client: &Client, sql: &str) -> Result<(u64, Vec<(String, String)>), tokio_postgres::Error> {
    let no_parameters: [(&(dyn ToSql + Sync), Type); 0] = [];
    let stream = client.query_typed_raw(sql, no_parameters).await?;
    pin_mut!(stream);
    let (mut rows, mut shown) = (0, Vec::new());
    while let Some(row) = stream.try_next().await? {
        rows += 1;
        if shown.len() < ROWS_SHOWN {
            shown.push((row.try_get(0)?, row.try_get(1)?));
        }
    }
    Ok((rows, shown))
}

fn wanted(names: &[String]) -> Result<Vec<Check>, Failure> {
    if names.is_empty() {
        return Ok(CHECKS.to_vec());
    }
    let find = |name: &String| {
        CHECKS.iter().copied().find(|check| check.name == name).ok_or_else(|| {
            let all: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
            Failure::usage(format!("there is no check {name}")).with_hint(all.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// What came of a check, in words.
pub(crate) fn lines(verdict: &Verdict) -> String {
    let Verdict { check, outcome } = verdict;
    match outcome {
        Err(error) => format!("ERROR   {}: cannot be run: {error}\n", check.name),
        Ok(finding) if finding.rows == 0 => {
            format!("ok      {:<28} {}.{:03} s\n", check.name, finding.took.as_secs(), finding.took.subsec_millis())
        }
        Ok(finding) => {
            let mut text =
                format!("BROKEN  {}: {}\n        {}\n", check.name, counted(finding.rows, "row"), check.meaning());
            for (subject, problem) in &finding.shown {
                text.push_str(&format!("        - {subject} {problem}\n"));
            }
            let more = finding.rows - finding.shown.len() as u64;
            if more > 0 {
                text.push_str(&format!("        and {more} more\n"));
            }
            text
        }
    }
}

/// What came of all checks.
pub(crate) fn answer(verdicts: &[Verdict]) -> Answer {
    let broken = verdicts.iter().filter(|verdict| !verdict.is_good()).count();
    let failed = verdicts.iter().any(|verdict| verdict.outcome.is_err());
    let exit = match (failed, broken) {
        (true, _) => Exit::Unforeseen,
        (false, 0) => Exit::Done,
        (false, _) => FOUND,
    };
    let checked = counted(verdicts.len() as u64, "check");
    let text = match broken {
        0 => format!("{checked}, all good\n"),
        _ => format!("{checked}, {broken} not good\n"),
    };
    let json = json!({
        "good": broken == 0,
        "schema_version": schema::VERSION,
        "checks": verdicts.iter().map(as_json).collect::<Vec<_>>(),
        "exit_code": exit.code(),
    });
    Answer { exit, ..Answer::new(text, json) }
}

fn as_json(verdict: &Verdict) -> Value {
    let (name, meaning) = (verdict.check.name, verdict.check.meaning());
    match &verdict.outcome {
        Err(error) => json!({ "name": name, "meaning": meaning, "error": error }),
        Ok(finding) => {
            let shown: Vec<Value> = finding
                .shown
                .iter()
                .map(|(subject, problem)| json!({ "subject": subject, "problem": problem }))
                .collect();
            json!({
                "name": name,
                "meaning": meaning,
                "rows": finding.rows,
                "shown": shown,
                "milliseconds": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
            })
        }
    }
}
