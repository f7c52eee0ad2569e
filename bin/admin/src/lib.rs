//! `admin`: what an operator does by hand. Migrations, the functions that bots call, the price list, parked rows, the
//! checks of the books, the story of one user, the demo.
//!
//! Each command is one short transaction and says what it did; a refusal by the database is one line with a hint and
//! exit code 3. Every change is signed `admin` in the audit log. Commands that move money or give rights take an
//! idempotency key (`--key`); without one they make one and show it, so that a call whose answer was lost can be
//! repeated without being done twice.
//!
//! The passes do not depend on any of this.

pub mod calls;
pub mod checks;
pub mod cli;
pub mod demo;
pub mod explain;
pub mod failure;
pub mod installation;
pub mod migrate;
pub mod nodes;
pub mod notices;
pub mod output;
pub mod parking;
pub mod price_list;
pub mod prune;
pub mod session;
pub mod status;
pub mod terms;
pub mod texts;
pub mod verify;

use std::process::ExitCode;

use cli::{
    Cli, Command, DiscountCommand, InstallationCommand, NodesCommand, NoticesCommand, TariffCommand, TextsCommand,
};
use failure::Failure;
use output::Answer;
use perennial_boot::{BaseOptions, Exit};
use perennial_core::operator;
use session::Session;

/// Runs one command and prints its answer or why it failed.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let Cli { base, command } = cli;
    let name = command.name();
    let form = base.output.unwrap_or_default();
    let outcome = begin(base, command);
    let exit = match outcome {
        Ok(answer) => match answer.print(name, form) {
            Ok(()) => answer.exit,
            Err(error) => Failure::unforeseen(format!("cannot write the answer: {error}")).print(name, form),
        },
        Err(failure) => failure.print(name, form),
    };
    exit.into()
}

fn begin(base: BaseOptions, command: Command) -> Result<Answer, Failure> {
    if let Command::Texts(TextsCommand::Check(check)) = command {
        // Texts are looked at before there is a database, too.
        let session = Session::start(base.clone()).ok();
        let sold = session.map(|session| block_on(price_list::sold(&session)));
        return texts::run(&base, check, sold);
    }
    let session = Session::start(base)?;
    block_on(obey(&session, command))
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::unforeseen(format!("the runtime does not start: {error}")))?;
    let outcome = runtime.block_on(work);
    // A name lookup that hangs in a thread of its own must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

async fn obey(session: &Session, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Migrate(migrate) => migrate::run(session, migrate).await,
        Command::EnsureUser(call) => calls::ensure_user(session, call).await,
        Command::TopUp(call) => calls::top_up(session, call).await,
        Command::Buy(call) => calls::buy(session, call).await,
        Command::Grant(call) => calls::grant(session, call).await,
        Command::StartTrial(call) => calls::start_trial(session, call).await,
        Command::Cancel(call) => calls::cancel(session, call).await,
        Command::Rotate(call) => calls::rotate(session, call).await,
        Command::Refund(call) => calls::refund(session, call).await,
        Command::SetAutoRenew(call) => calls::set_auto_renew(session, call).await,
        Command::Tariff(TariffCommand::Set(set)) => price_list::set(session, set).await,
        Command::Tariff(TariffCommand::List) => price_list::list(session).await,
        Command::Discount(DiscountCommand::Set(set)) => terms::set_discount(session, set).await,
        Command::Discount(DiscountCommand::End(end)) => terms::end_discount(session, end).await,
        Command::Vip(vip) => terms::set_vip(session, vip).await,
        Command::AgreePrice(agree) => terms::agree_price(session, agree).await,
        Command::Park(park) => parking::park(session, park).await,
        Command::Unpark(unpark) => parking::unpark(session, unpark).await,
        Command::Parked(parked) => parking::list(session, parked).await,
        Command::Nodes(NodesCommand::List) => nodes::list(session).await,
        Command::Nodes(NodesCommand::Check(call)) => nodes::check::run(session, call).await,
        Command::Nodes(NodesCommand::Retire(call)) => nodes::retire(session, call).await,
        Command::Nodes(NodesCommand::Revive(call)) => nodes::revive(session, call).await,
        Command::Orphans(call) => nodes::orphans(session, call).await,
        Command::Notices(NoticesCommand::List(list)) => notices::list(session, list).await,
        Command::Notices(NoticesCommand::Retry(retry)) => notices::retry(session, retry).await,
        Command::Notices(NoticesCommand::Drop(drop)) => notices::drop_some(session, drop).await,
        Command::Texts(TextsCommand::Check(check)) => {
            let sold = price_list::sold(session).await;
            texts::run(&session.options, check, Some(sold))
        }
        Command::Status(status) => status::run(session, status).await,
        Command::Prune(call) => prune::run(session, call).await,
        Command::Verify(verify) => verify::run(session, verify).await,
        Command::Explain(explain) => explain::run(session, explain).await,
        Command::Installation(InstallationCommand::Show) => installation::show(session).await,
        Command::Installation(InstallationCommand::Accept) => installation::accept(session).await,
        Command::Demo(demo) => demo::run(session, demo).await,
    }
}

/// A subject that a command was given is not there.
fn unknown(what: &str, hint: &str) -> Failure {
    Failure::refused(format!("{what} is not known")).with_hint(hint)
}

/// What to do about a user who is not known.
fn writes_down() -> String {
    format!("{} writes a user down", operator::command("ensure-user"))
}

/// Where the number of a subscription is to be had.
fn lists_subscriptions() -> String {
    format!("{} lists a user's subscriptions", operator::command("explain"))
}

/// Exit code of a command that found what it looked for, none of it good.
const FOUND: Exit = Exit::Partial;
