//! A million users are listed in little memory.
//!
//! The fake with the users is in one process, the client in another, whose peak is looked at. Unoptimised code takes half
//! a minute for a million, so there it is a quarter of that: `cargo test --release -p perennial-xray --test memory`.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::process::Command;
use std::time::{Duration, Instant};

use perennial_core::ports::{InboundTag, Xray as _};
use perennial_testkit::fake_xray::FakeXray;
use perennial_xray::{NodeSettings, XrayNode};
use uuid::Uuid;

const USERS: u128 = if cfg!(debug_assertions) { 250_000 } else { 1_000_000 };
const FLOW: &str = "xtls-rprx-vision";
/// For the whole process of the client; the bytes of a million users alone are 109 MiB.
const PEAK_MIB_MAX: u64 = if cfg!(debug_assertions) { 35 } else { 90 };
const ADDRESS: &str = "PERENNIAL_TEST_XRAY_ADDRESS";

/// As random ones, so that nothing is smaller than in life.
fn uuid(i: u128) -> Uuid {
    Uuid::from_u128(i.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1)
}

#[test]
fn many_users_are_listed_in_less_memory_than_their_answer_has() {
    let fake = FakeXray::start().unwrap();
    for i in 0..USERS {
        fake.put_user("vless-in", &format!("p.{i}"), uuid(i), FLOW);
    }
    let mut client = Command::new(std::env::current_exe().unwrap());
    client.args(["--exact", "the_client_in_a_process_of_its_own", "--ignored", "--nocapture"]);
    let output = client.env(ADDRESS, fake.address()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let peak = said.lines().find_map(|line| line.strip_prefix("peak MiB: ")).unwrap();
    println!("{said}");
    assert!(peak.parse::<u64>().unwrap() <= PEAK_MIB_MAX, "{said}");
}

#[test]
#[ignore = "run by the test above"]
fn the_client_in_a_process_of_its_own() {
    let Some(address) = std::env::var(ADDRESS).ok() else { return };
    let before = peak_mib();
    let list_timeout = Duration::from_secs(300);
    let node = XrayNode::connect(NodeSettings { list_timeout, ..NodeSettings::new("n1", address) }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let list = runtime.block_on(node.list_users(&InboundTag("vless-in".to_owned()))).unwrap();
    println!("\nusers: {}, ms: {}, MiB before: {before}", list.len(), begun.elapsed().as_millis());
    println!("peak MiB: {}", peak_mib());
    assert_eq!(list.len() as u128, USERS);
    let last = list.find(&format!("p.{}", USERS - 1)).unwrap();
    assert_eq!((last.uuid, last.flow), (Some(uuid(USERS - 1)), FLOW));
}

/// The most this process has had in memory at once.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
