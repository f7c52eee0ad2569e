//! Which charts the page shows, and what each of them says.

use perennial_core::money::Kopecks;

use super::chart::{Chart, Form, Series, short};
use super::{grouped, whole_rubles};
use crate::output::{counted, rubles};
use crate::status::history::{Day, Done, History};

/// All of them, in the order of the page.
pub(super) fn all(history: &History) -> Vec<Chart<'static>> {
    let days = Days(&history.days);
    vec![
        revenue(days),
        top_ups(days),
        renewals(days),
        churn(days),
        forecast(history),
        failures(days),
        bad_runs(days),
        proofs(days),
        messages(days),
    ]
}

/// The days that were.
#[derive(Clone, Copy)]
struct Days<'a>(&'a [Day]);

impl Days<'_> {
    fn sum(self, number: fn(&Day) -> i64) -> i64 {
        self.0.iter().map(number).sum()
    }

    fn series(self, name: &'static str, color: &'static str, number: fn(&Day) -> i64) -> Series<'static> {
        Series { name, color, numbers: self.0.iter().map(|day| Some(number(day))).collect() }
    }

    /// Of what is not known of every day.
    fn of_known(self, name: &'static str, color: &'static str, number: fn(&Done) -> Option<i64>) -> Series<'static> {
        Series { name, color, numbers: self.0.iter().map(|day| number(&day.done)).collect() }
    }

    /// A bar a day, of plain numbers.
    fn bars(self, title: &'static str, note: String, series: Vec<Series<'static>>) -> Chart<'static> {
        Chart {
            title,
            note,
            form: Form::Bars,
            days: self.0.iter().map(|day| day.date).collect(),
            series,
            say: |number| number.to_string(),
            scale: short,
        }
    }
}

/// A chart of kopecks, with rubles on its scale.
fn of_money(chart: Chart<'static>) -> Chart<'static> {
    Chart { say: |kopecks| rubles(Kopecks(kopecks)), scale: |kopecks| short(kopecks / 100), ..chart }
}

fn refunded(day: &Day) -> i64 {
    day.money.refunds.amount.0
}

fn revenue(days: Days<'_>) -> Chart<'static> {
    let charged = days.sum(|day| day.money.renewals.amount.0 + day.money.purchases.amount.0);
    of_money(days.bars(
        "Revenue, RUB a day",
        format!(
            "{} charged in {}, {} refunded",
            whole_rubles(Kopecks(charged)),
            counted(days.0.len() as u64, "day"),
            whole_rubles(Kopecks(days.sum(refunded)))
        ),
        vec![
            days.series("renewals", "a", |day| day.money.renewals.amount.0),
            days.series("purchases", "b", |day| day.money.purchases.amount.0),
        ],
    ))
}

fn top_ups(days: Days<'_>) -> Chart<'static> {
    let topped_up = |day: &Day| day.money.top_ups.amount.0;
    let chart = days.bars(
        "Top-ups and refunds, RUB a day",
        format!("{} topped up", whole_rubles(Kopecks(days.sum(topped_up)))),
        vec![days.series("topped up", "b", topped_up), days.series("refunded", "bad", refunded)],
    );
    of_money(Chart { form: Form::Lines, ..chart })
}

fn renewals(days: Days<'_>) -> Chart<'static> {
    let renewed = |day: &Day| day.done.renewed;
    let note = format!("{} subscriptions renewed", grouped(days.sum(renewed)));
    days.bars("Renewals", note, vec![days.series("renewed", "a", renewed)])
}

fn churn(days: Days<'_>) -> Chart<'static> {
    let (renewed, ended) = (days.sum(|day| day.done.renewed), days.sum(|day| day.done.ended));
    let share = ended.saturating_mul(1000).checked_div(renewed + ended).unwrap_or_default();
    let note = format!("{} rights ended: {}.{} % of what ended or was renewed", grouped(ended), share / 10, share % 10);
    days.bars("Churn", note, vec![days.series("ended", "c", |day| day.done.ended)])
}

fn forecast(history: &History) -> Chart<'static> {
    let rows: i64 = history.ahead.iter().map(|(_, ends)| ends.rows).sum();
    let renewing: i64 = history.ahead.iter().map(|(_, ends)| ends.renewing).sum();
    let numbers = |number: fn(i64, i64) -> i64| {
        history.ahead.iter().map(|(_, ends)| Some(number(ends.rows, ends.renewing))).collect()
    };
    Chart {
        title: "Ends of the next 30 days",
        note: format!("{} rights end, {} of them renew themselves", grouped(rows), grouped(renewing)),
        form: Form::Bars,
        days: history.ahead.iter().map(|(date, _)| *date).collect(),
        series: vec![
            Series { name: "renew themselves", color: "a", numbers: numbers(|_, renewing| renewing) },
            Series { name: "end", color: "c", numbers: numbers(|rows, renewing| rows - renewing) },
        ],
        say: |number| number.to_string(),
        scale: short,
    }
}

fn failures(days: Days<'_>) -> Chart<'static> {
    let failed = days.sum(|day| day.done.failed + day.done.parked);
    days.bars(
        "Rows that failed",
        format!("{} failed or parked", grouped(failed)),
        vec![days.series("failed", "bad", |day| day.done.failed), days.series("parked", "c", |day| day.done.parked)],
    )
}

fn bad_runs(days: Days<'_>) -> Chart<'static> {
    days.bars(
        "Runs that ended badly",
        "Neither done nor stopped in good order".to_owned(),
        vec![days.series("runs", "bad", |day| day.done.bad_runs)],
    )
}

fn proofs(days: Days<'_>) -> Chart<'static> {
    let chart = days.bars(
        "From end to proof, seconds",
        "How long after its end a right is proven gone from every server".to_owned(),
        vec![
            days.of_known("half of them", "a", |done| done.proof_p50),
            days.of_known("99 of 100, worst run", "c", |done| done.proof_p99),
        ],
    );
    Chart { form: Form::Lines, say: |seconds| format!("{seconds} s"), ..chart }
}

fn messages(days: Days<'_>) -> Chart<'static> {
    let (sent, dead) = (days.sum(|day| day.done.sent), days.sum(|day| day.done.dead));
    days.bars(
        "Messages",
        format!("{} sent, {} given up", grouped(sent), grouped(dead)),
        vec![
            days.series("sent", "a", |day| day.done.sent),
            days.series("dropped", "c", |day| day.done.dropped),
            days.series("given up", "bad", |day| day.done.dead),
        ],
    )
}
