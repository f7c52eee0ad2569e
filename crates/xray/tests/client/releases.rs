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

#[tokio::test]
async fn what_a_server_offers_tells_how_new_it_is_at_least() {
    for (release, at_least) in [
        (Release(26, 10, 10), Some("v26.4.13")),
        (Release(26, 4, 12), Some("v26.1.13")),
        (Release(25, 12, 1), Some("v25.6.8")),
        (Release(25, 2, 18), Some("v25.2.18")),
        (Release(24, 11, 5), None),
    ] {
        let (fake, node) = start(release);
        let abilities = node.abilities().await.unwrap();
        assert_eq!(abilities.at_least, at_least, "{release:?}");
        assert_eq!(abilities.inbounds.is_some(), release >= Release(25, 6, 8), "{release:?}");
        assert_eq!(abilities.tells_online, release >= Release(25, 2, 18), "{release:?}");
        assert!(abilities.uptime.is_some());
        node.check_inbound(&vless()).await.unwrap();
        assert_eq!(fake.count(Kind::Add) + fake.count(Kind::Remove) + fake.count(Kind::Malformed), 0);
    }
    let fake = FakeXray::builder().inbound("vless-in").services(&["HandlerService"]).start().unwrap();
    let abilities = node(patient(&fake.address())).abilities().await.unwrap();
    assert_eq!((abilities.at_least, abilities.uptime, abilities.tells_online), (Some("v25.6.8"), None, false));
}
