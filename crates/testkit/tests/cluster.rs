//! Clusters: they serve, survive being killed and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use perennial_testkit::{Cluster, ClusterError, ClusterOptions};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A folder that a server of another user gets into, short enough for a socket.
fn open_folder() -> TempDir {
    let base = tempfile::Builder::new().prefix("pk-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(base.path(), Permissions::from_mode(0o755)).unwrap();
    base
}

fn in_folder(base: &Path) -> ClusterOptions {
    ClusterOptions { base: Some(base.to_path_buf()), ..ClusterOptions::default() }
}

fn ask(cluster: &Cluster, work: impl AsyncFnOnce(Client)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&cluster.url(), NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        work(client).await;
        driver.abort();
    });
}

async fn setting(client: &Client, name: &str) -> String {
    let query = format!("SELECT current_setting('{name}')");
    client.query_typed_one(&query, &[]).await.unwrap().get(0)
}

#[test]
fn a_cluster_serves_and_leaves_nothing() {
    let base = open_folder();
    let cluster = Cluster::start(&in_folder(base.path())).unwrap();
    ask(&cluster, async |client| {
        assert_eq!(setting(&client, "max_connections").await, "200");
        assert_eq!(setting(&client, "fsync").await, "off");
        assert_eq!(setting(&client, "listen_addresses").await, "");
    });
    assert!(cluster.bin_dir().join("postgres").is_file());
    cluster.stop().unwrap();
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn a_dropped_cluster_leaves_nothing_either() {
    let base = open_folder();
    drop(Cluster::start(&in_folder(base.path())).unwrap());
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn a_durable_cluster_flushes_and_takes_settings() {
    let settings = vec![("shared_buffers".to_owned(), "64MB".to_owned())];
    let cluster = Cluster::start(&ClusterOptions { durable: true, settings, ..ClusterOptions::default() }).unwrap();
    assert!(!cluster.folder().starts_with("/dev/shm"));
    ask(&cluster, async |client| {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            assert_eq!(setting(&client, name).await, "on", "{name}");
        }
        assert_eq!(setting(&client, "shared_buffers").await, "64MB");
    });
}

#[test]
fn committed_rows_survive_a_killed_server() {
    let mut cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    ask(&cluster, async |client| client.batch_execute("CREATE TABLE kept (n int)").await.unwrap());
    let url = cluster.url();
    for stop in [Cluster::kill9, Cluster::stop_immediately, |_: &mut Cluster| Ok(())] {
        ask(&cluster, async |client| client.batch_execute("INSERT INTO kept VALUES (1)").await.unwrap());
        stop(&mut cluster).unwrap();
        cluster.restart().unwrap();
    }
    assert_eq!(cluster.url(), url);
    ask(&cluster, async |client| {
        let rows: i64 = client.query_typed_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0);
        assert_eq!(rows, 3);
    });
}

#[test]
fn a_busy_server_can_be_killed_and_restarted() {
    let mut cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    let url = cluster.url();
    let busy = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            drop(tokio::spawn(connection));
            // Never looks up from its work by itself.
            client.batch_execute("SELECT count(*) FROM generate_series(1, 1000000000000)").await
        })
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    cluster.kill9().unwrap();
    assert_eq!(cluster.pid(), None);
    assert!(busy.join().unwrap().is_err());
    cluster.restart().unwrap();
    ask(&cluster, async |client| assert_eq!(setting(&client, "port").await, "5432"));
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let base = open_folder();
    let error = Cluster::start(&ClusterOptions { settings, ..in_folder(base.path()) }).unwrap_err();
    assert!(matches!(error, ClusterError::Server { .. }));
    assert!(error.to_string().contains("unrecognized configuration parameter \"no_such_setting\""), "{error}");
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn only_folders_of_dead_owners_are_swept() {
    let base = open_folder();
    let alive = Cluster::start(&in_folder(base.path())).unwrap();
    let stale = base.path().join("perennial-pg-dead");
    let foreign = base.path().join("perennial-pg-foreign"); // without the file that names an owner
    for folder in [&stale, &foreign] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(stale.join("owner"), "").unwrap();
    let second = Cluster::start(&in_folder(base.path())).unwrap();
    assert!(!stale.exists());
    assert!(foreign.exists());
    ask(&alive, async |client| assert_eq!(setting(&client, "port").await, "5432"));
    ask(&second, async |client| assert_eq!(setting(&client, "port").await, "5432"));
}

#[test]
fn kept_data_is_not_swept() {
    let base = open_folder();
    let cluster = Cluster::start(&ClusterOptions { keep_data: true, ..in_folder(base.path()) }).unwrap();
    let kept = cluster.folder().to_path_buf();
    cluster.stop().unwrap();
    drop(Cluster::start(&in_folder(base.path())).unwrap());
    assert!(kept.join("data/PG_VERSION").is_file());
}
