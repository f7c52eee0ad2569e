//! Years of a small service, simulated: random customers, prices, faults, lost connections and clocks, compared with a
//! model after every pass. Conserved to the kopeck, one charge a period, no charge without extension and none the other
//! way round.
//!
//! A failed run prints its seed. `PERENNIAL_SEED` repeats it; `PERENNIAL_SIM_RENEWALS` sets the size, 100 000 in `make
//! soak`.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, and the seed of a failed run

mod support;

use std::time::Instant;

use perennial_core::time::Clock;
use perennial_testkit::db_test;
use support::NOW;
use support::random::{Random, seed};
use support::sim::op::{Op, PassKind};
use support::sim::run::Simulation;

/// Renewals after which a simulation ends, when nothing else is said.
const RENEWALS: u64 = 800;
/// Where there is time.
const RENEWALS_IN_A_SOAK: u64 = 100_000;

fn wanted_renewals() -> u64 {
    let default = if std::env::var_os("PERENNIAL_SOAK").is_some() { RENEWALS_IN_A_SOAK } else { RENEWALS };
    std::env::var("PERENNIAL_SIM_RENEWALS").map_or(default, |given| given.parse().unwrap())
}

/// A few of the rows that are about to be renewed get into trouble, for some passes. Not for ever: every batch with such
/// a row is done once more row by row, and in the end there would be nothing but such batches.
async fn trouble(simulation: &mut Simulation, random: &mut Random) {
    if random.percent(25) {
        simulation.apply(&Op::Mend).await;
    }
    let due = simulation.due();
    if !due.is_empty() && random.percent(15) {
        for _ in 0..random.between(1, 3) {
            let user = random.one_of(&due);
            let fault = Op::any_fault(random, user);
            simulation.apply(&fault).await;
        }
    }
}

#[test]
fn years_of_random_events_come_out_as_the_model_says_to_the_kopeck() {
    let (seed, wanted) = (seed(), wanted_renewals());
    println!("PERENNIAL_SEED={seed} PERENNIAL_SIM_RENEWALS={wanted}");
    db_test(async |db| {
        let mut random = Random::from_seed(seed);
        // More customers, more rows a pass: a large simulation is to have full batches, and not more calls than renewals.
        let users = usize::try_from((wanted / 25).clamp(40, 4_000)).unwrap();
        let calls = i64::try_from((users / 16).min(40)).unwrap();
        let mut simulation = Simulation::new(db, users).await;
        let began = Instant::now();
        let mut analyzed = 0;
        while simulation.renewals() < wanted {
            for _ in 0..random.between(0, calls) {
                let op = Op::any(&mut random, users);
                // Who is renewed automatically seldom buys by hand, too.
                if !matches!(op, Op::Buy { .. }) || random.percent(10) {
                    simulation.apply(&op).await;
                }
            }
            for user in simulation.lapsed() {
                let tariff = random.one_of(&[0, 0, 0, 1, 1, 2, 3]);
                // Who comes back looks what is sold; only now and then somebody has an old price list.
                if random.percent(30) && (simulation.sells(tariff) || random.percent(10)) {
                    simulation.apply(&Op::TopUp { user, kopecks: random.between(1, 400_000) }).await;
                    simulation.apply(&Op::Buy { user, tariff, auto_renew: true }).await;
                }
            }
            let wait = Op::any_wait(&mut random);
            simulation.apply(&wait).await;
            trouble(&mut simulation, &mut random).await;
            let pass = Op::any_pass(&mut random);
            simulation.apply(&pass).await;
            // As in life, the next one is not far: else what this one did not get to would mostly be bought again.
            if !pass.is_whole_pass() && random.percent(80) {
                simulation.apply(&Op::Wait { minutes: 10 }).await;
                simulation.apply(&Op::Pass { kind: PassKind::Plain, batch_rows: 200, workers: 1 }).await;
            }
            if simulation.renewals() >= 2 * analyzed {
                analyzed = simulation.renewals().max(50);
                simulation.analyze().await;
            }
        }
        let days = (simulation.world.clock.now() - NOW).whole_days();
        println!(
            "{} renewals of {users} customers in {days} days, {:?}: {:?}",
            simulation.renewals(),
            began.elapsed(),
            simulation.figures
        );
        simulation.finish().await;
    });
}
