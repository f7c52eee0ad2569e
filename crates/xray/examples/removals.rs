//! Removals a second on a real Xray, by our client and by a bare one of tonic, at the same concurrency.
//!
//! `cargo run --release -p perennial-xray --example removals`; wants `scripts/install-xray.sh` to have run. Prints one
//! line a concurrency; the bar is 0.8 of the bare client. Both run on one thread, as the passes do.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a measurement, on a terminal
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)] // of rates

use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use perennial_core::ports::{InboundTag, Removal, Xray as _};
use perennial_testkit::bare_xray::BareXray;
use perennial_testkit::real_xray::{self, RealXray, Setup, Version};
use perennial_xray::{NodeSettings, XrayNode};
use uuid::Uuid;

const TAG: &str = "vless-in";
/// Of each client at each concurrency, in turns; the best counts, since other programs only ever slow one down.
const ROUNDS: usize = 5;

fn email(i: usize) -> String {
    format!("p.{i}")
}

async fn fill(node: &XrayNode, users: usize) {
    let tag = InboundTag(TAG.to_owned());
    let user = |i| perennial_core::ports::XrayUser { email: email(i), uuid: Uuid::new_v4(), flow: String::new() };
    let added = stream::iter(0..users).map(|i| {
        let (tag, user) = (&tag, user(i));
        async move { node.add_user(tag, &user).await.unwrap() }
    });
    added.buffer_unordered(64).count().await;
}

/// Users a second.
async fn rate(users: usize, in_flight: usize, remove: impl AsyncFn(usize)) -> f64 {
    let begun = Instant::now();
    let remove = &remove;
    stream::iter(0..users).map(|i| async move { remove(i).await }).buffer_unordered(in_flight).count().await;
    users as f64 / begun.elapsed().as_secs_f64()
}

async fn measure(server: &RealXray) {
    let tag = InboundTag(TAG.to_owned());
    let bare = BareXray::connect(server.address(), TAG).await.unwrap();
    for (in_flight, users) in [(1, 6_000), (8, 20_000), (16, 20_000), (64, 40_000)] {
        let settings = NodeSettings { max_in_flight: in_flight, ..NodeSettings::new("n1", server.address()) };
        let filler = XrayNode::connect(NodeSettings { max_in_flight: 64, ..settings.clone() }).unwrap();
        let node = XrayNode::connect(settings).unwrap();
        let (mut best_bare, mut best_ours) = (0.0f64, 0.0f64);
        for _ in 0..ROUNDS {
            fill(&filler, users).await;
            best_bare = best_bare.max(rate(users, in_flight, async |i| bare.remove(&email(i)).await.unwrap()).await);
            fill(&filler, users).await;
            let ours = async |i| assert_eq!(node.remove_user(&tag, &email(i)).await, Ok(Removal::Removed));
            best_ours = best_ours.max(rate(users, in_flight, ours).await);
        }
        let ratio = best_ours / best_bare;
        println!("{in_flight:>3} in flight: bare {best_bare:>6.0}/s, ours {best_ours:>6.0}/s, ratio {ratio:.2}");
    }
}

fn main() {
    let Some(installed) = real_xray::find(Version::V26_10_10).unwrap() else { return };
    let server = RealXray::start(&installed, &Setup::default()).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure(&server));
}
