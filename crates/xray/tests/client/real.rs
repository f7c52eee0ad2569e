//! What only a real server shows: one that stands still, its TLS tunnel, its other ports.

use perennial_core::ports::{Removal, Xray as _};
use perennial_testkit::real_xray::{Installed, RealXray, Setup, Version, find};
use perennial_xray::NodeSettings;

use crate::certificates::Certificates;
use crate::{add, get_acquainted, hasty, in_time, node, patient, remove, unknown, unreachable, vless};

fn installed() -> impl Iterator<Item = Installed> {
    Version::ALL.into_iter().filter_map(|version| find(version).unwrap())
}

#[tokio::test]
async fn a_server_that_stands_still_leaves_it_open_and_goes_on_later() {
    for installed in installed() {
        let server = RealXray::start(&installed, &Setup::default()).unwrap();
        let patient = node(patient(&server.address()));
        add(&patient, "p.1").await.unwrap();
        let hasty = node(hasty(&server.address()));
        get_acquainted(&hasty).await;

        server.freeze().unwrap();
        unknown(in_time(remove(&hasty, "p.1")).await);
        unreachable(in_time(remove(&hasty, "p.1")).await);
        server.thaw().unwrap();
        // Whether it carries out what it finds waiting is up to it: mostly it sees first that nobody waits any more.
        assert!(matches!(remove(&patient, "p.1").await, Ok(Removal::Removed | Removal::WasAbsent)));
        assert_eq!(patient.find_user(&vless(), "p.1").await, Ok(None));
    }
}

#[tokio::test]
async fn a_tls_inbound_in_front_of_the_api_works() {
    let certificates = Certificates::new();
    for installed in installed() {
        let setup = Setup { tls: Some(certificates.files()), ..Setup::default() };
        let server = RealXray::start(&installed, &setup).unwrap();
        let address = server.address();
        let with_ca = |ca_file| node(NodeSettings { ca_file, ..patient(&address) });

        let node_of_it = with_ca(Some(certificates.ca_file()));
        get_acquainted(&node_of_it).await;
        add(&node_of_it, "p.1").await.unwrap();
        assert_eq!(node_of_it.list_users(&vless()).await.unwrap().len(), 1);
        assert_eq!(remove(&node_of_it, "p.1").await, Ok(Removal::Removed));

        assert!(unreachable(remove(&with_ca(None), "p.1").await).contains("certificate"));
        let plaintext = node(hasty(&address.replace("https", "http")));
        assert!(unreachable(in_time(remove(&plaintext, "p.1")).await).contains("http or https right?"));
    }
}

#[tokio::test]
async fn the_port_of_the_vless_inbound_is_not_the_api() {
    for installed in installed() {
        let server = RealXray::start(&installed, &Setup::default()).unwrap();
        let plain = node(hasty(&format!("http://127.0.0.1:{}", server.vless_port())));
        let reason = unreachable(in_time(remove(&plain, "p.1")).await);
        assert!(reason.contains("is this its port"), "{reason}");
        let reason = unreachable(in_time(plain.list_users(&vless())).await);
        assert!(reason.contains("is this its port"), "{reason}");
    }
}
