//! Older releases, which lack some of the calls.

use perennial_core::ports::{Addition, OnlineUser, Removal, Xray as _};
use perennial_testkit::fake_xray::{FakeXray, Kind, Release};
use perennial_xray::XrayNode;

use crate::{add, misconfigured, node, patient, remove, vless};

fn start(release: Release) -> (FakeXray, XrayNode) {
    let fake = FakeXray::builder().inbound("vless-in").release(release).start().unwrap();
    let node = node(patient(&fake.address()));
    (fake, node)
}

#[tokio::test]
async fn a_release_without_listings_is_named_as_too_old() {
    let (_fake, node) = start(Release(24, 9, 30));
    for reason in [misconfigured(node.list_users(&vless()).await), misconfigured(node.find_user(&vless(), "p.1").await)]
    {
        assert!(reason.contains("needs Xray v24.11.5 or newer"), "{reason}");
    }
    // Whether the inbound is VLESS can be asked in every release.
    assert_eq!(add(&node, "p.1").await, Ok(Addition::Added));
    assert_eq!(remove(&node, "p.1").await, Ok(Removal::Removed));
}

#[tokio::test]
async fn a_release_that_cannot_list_its_inbounds_says_how_long_it_runs_all_the_same() {
    let (fake, node) = start(Release(25, 6, 7));
    fake.set_uptime(std::time::Duration::from_secs(7000));
    let status = node.status().await.unwrap();
    assert!((7000..8000).contains(&status.uptime.as_secs()));
    assert_eq!(status.inbounds, None);
}

#[tokio::test]
async fn who_is_online_is_asked_as_the_release_allows() {
    let one_call = [Kind::UsersStats].as_slice();
    let by_name = [Kind::AllOnline, Kind::OnlineIps].as_slice();
    let one_by_one = [Kind::OnlineIps, Kind::OnlineIps].as_slice();
    for (release, calls) in [
        (Release(26, 10, 10), one_call),
        (Release(26, 4, 13), one_call),
        (Release(26, 4, 12), by_name),
        (Release(26, 1, 13), by_name),
        (Release(25, 2, 18), one_by_one),
    ] {
        let (fake, node) = start(release);
        fake.set_online("p.1", &["10.0.0.1", "10.0.0.2"]);
        fake.set_online("admin", &["10.0.0.3"]);
        let online = node.online(&["p.1", "p.2"].map(str::to_owned)).await.unwrap();
        let addresses = ["10.0.0.1", "10.0.0.2"].map(str::to_owned).to_vec();
        assert_eq!(online, Some(vec![OnlineUser { email: "p.1".to_owned(), addresses }]), "{release:?}");
        let asked: Vec<Kind> = fake.calls().into_iter().map(|call| call.kind).collect();
        assert_eq!(asked, calls, "{release:?}");
    }
}

#[tokio::test]
async fn a_release_that_does_not_count_who_is_online_says_none() {
    let (_fake, node) = start(Release(25, 2, 17));
    assert_eq!(node.online(&["p.1".to_owned()]).await, Ok(None));
}
