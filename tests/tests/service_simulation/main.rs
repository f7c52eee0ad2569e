//! The whole service, simulated: customers, a bot, an operator, the four passes and delivery as library calls, two Xray
//! servers and the chats in memory, all in trouble now and then; one simulated clock, a real PostgreSQL. A model in plain
//! Rust foretells balances, ends, credentials, who is on which server, and every message: after some days everybody and
//! everything is compared.
//!
//! A difference is made as short as time allows and printed with its seed. `PERENNIAL_SEED` repeats a course,
//! `PERENNIAL_SIM_RENEWALS` sets its size; `make soak` takes a million.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, and what differs

#[path = "../access_support/mod.rs"]
mod access_support;
mod action;
#[path = "../support/books.rs"]
#[allow(dead_code, unreachable_pub)] // shared with others
mod books;
mod chats;
mod compare;
mod course;
mod foretell;
mod model;
mod ops;
#[path = "../support/random.rs"]
#[allow(dead_code, unreachable_pub)] // shared with others
mod random;
#[path = "../support/sim/model.rs"]
#[allow(dead_code, unreachable_pub)] // shared with others
mod renewing;
mod service;
mod shrink;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use perennial_testkit::db_test;

use action::{Action, Adds, Op, some_days};
use course::Course;
use model::GRACE;
use random::{Random, seed};

/// Renewals after which a course ends: in CI, and where there is time.
const RENEWALS: u64 = 20_000;
const RENEWALS_IN_A_SOAK: u64 = 1_000_000;
/// How long a history is made shorter.
const SHRINKING: Duration = Duration::from_secs(120);
/// However slow the machine is.
const SHRINKING_TO_THE_END: Duration = Duration::from_secs(86_400);

/// What a course has brought about, to see that nothing of it was left out.
const WHAT_HAPPENED: &str = "
    SELECT concat_ws(' ', count(*), 'notices', kind, status, CASE WHEN status = 'dropped' THEN last_error END)
    FROM notices GROUP BY kind, status, CASE WHEN status = 'dropped' THEN last_error END
    UNION ALL SELECT concat_ws(' ', count(*), 'audit rows', actor, action) FROM audit_log GROUP BY actor, action
    UNION ALL SELECT concat_ws(' ', count(*), 'credentials', CASE WHEN retired_at IS NULL THEN 'open' ELSE 'retired' END)
    FROM credentials GROUP BY retired_at IS NULL
    ORDER BY 1 DESC";

/// What a course has done so far; also when it ends in a panic.
#[derive(Default)]
struct Done {
    history: Vec<Action>,
    difference: Option<String>,
}

/// A service with this rule of the model changed.
type Rule = fn(&mut Course);

/// Lets a simulation go on in a database of its own until it differs or has nothing more to do.
fn attempt(users: usize, rule: Rule, body: impl AsyncFnOnce(&mut Course, &Mutex<Done>) -> Result<(), String>) -> Done {
    let done = Mutex::new(Done::default());
    let ended = catch_unwind(AssertUnwindSafe(|| {
        db_test(async |db| {
            let mut course = Course::new(db, users).await;
            rule(&mut course);
            let outcome = body(&mut course, &done).await;
            done.lock().unwrap().difference = outcome.err();
        });
    }));
    let mut done = done.into_inner().unwrap();
    if let Err(panic) = ended {
        done.difference = done.difference.or_else(|| Some(said(&*panic)));
    }
    done
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_else(|| "a panic".to_owned())
}

/// Lives through days of its own making, until so many renewals.
async fn live(course: &mut Course, done: &Mutex<Done>, seed: u64, renewals: u64) -> Result<(), String> {
    let mut random = Random::from_seed(seed);
    let began = (Instant::now(), course.service.now());
    while course.model.renewals() < renewals {
        let actions = some_days(&mut random, &course.model);
        done.lock().unwrap().history.extend(actions.iter().cloned());
        course.run(&actions).await?;
    }
    course.assert_sound().await;
    let chats = &course.service.chats;
    println!(
        "{} renewals of {} customers in {} days, {:?}; {} messages, {} of them without an answer; {:?}",
        course.model.renewals(),
        course.model.people.len(),
        (course.service.now() - began.1).whole_days(),
        began.0.elapsed(),
        chats.messages.get(),
        chats.lost.get(),
        course.figures
    );
    for line in course.service.world.column(WHAT_HAPPENED).await {
        println!("  {line}");
    }
    Ok(())
}

/// Makes what differs short.
fn shortest(users: usize, rule: Rule, done: Done, limit: Duration) -> Option<(Vec<Action>, String)> {
    let differs = |history: &[Action]| {
        // Who rests in the end is compared.
        let history = [history, &[Action::Rest]].concat();
        attempt(users, rule, async |course, _| course.run(&history).await).difference
    };
    let difference = done.difference?;
    println!("{} actions, in the end:\n{difference}\nThey are made fewer now.", done.history.len());
    Some(shrink::shrink(&done.history, difference, limit, differs))
}

/// An action a line.
fn shown(history: &[Action]) -> String {
    history.iter().map(|action| format!("    {action:?}\n")).collect()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|given| given.parse().unwrap())
}

#[test]
fn years_of_service_go_as_the_model_says() {
    let soak = std::env::var_os("PERENNIAL_SOAK").is_some();
    let renewals = setting("PERENNIAL_SIM_RENEWALS").unwrap_or(if soak { RENEWALS_IN_A_SOAK } else { RENEWALS });
    let seed = seed();
    println!("PERENNIAL_SEED={seed} PERENNIAL_SIM_RENEWALS={renewals}");
    let users = usize::try_from((renewals / 15).clamp(30, 3_000)).unwrap();
    let done = attempt(users, |_| {}, async |course, done| live(course, done, seed, renewals).await);
    if let Some((history, difference)) = shortest(users, |_| {}, done, SHRINKING) {
        let history = shown(&history);
        panic!("PERENNIAL_SEED={seed} PERENNIAL_SIM_RENEWALS={renewals}, made short:\n{history}\n{difference}");
    }
}

/// The simulation would see it: a rule of the model is changed, as if the service were wrong in it.
#[test]
fn a_wrong_rule_is_found_and_its_history_made_short() {
    let users = 6;
    // "What was not renewed by its end is still renewed ten hours after it."
    let rule: Rule = |course| course.model.rules.grace = 40 * GRACE;
    let mut history = some_days(&mut Random::from_seed(7), &model::Model::new(users, access_support::NOW));
    history.truncate(20);
    let call = |op| Action::Op { user: 3, op, again: false, adds: Adds::AtOnce };
    let late = [
        call(Op::TopUp { kopecks: 900 }),
        call(Op::Buy { tariff: 0, auto_renew: true }),
        Action::Wait { minutes: 26 * 60 },
        call(Op::TopUp { kopecks: 5_000 }),
        Action::Rest,
    ];
    history.extend(late);
    let done = attempt(users, rule, async |course, _| course.run(&history).await);
    let long = history.len();
    let (short, difference) = shortest(users, rule, Done { history, ..done }, SHRINKING_TO_THE_END).unwrap();
    println!("{long} actions became:\n{}{difference}", shown(&short));
    assert!(short.len() <= 4, "{} actions are left:\n{}", short.len(), shown(&short));
}
