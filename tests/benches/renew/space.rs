//! The server and its databases: an empty migrated one, loaded ones, and copies of these for single runs.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use perennial_core::schema::MIGRATIONS;
use perennial_testkit::db::ACCEPT;
use perennial_testkit::db_test_unchecked;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::load::{self, Book};

const EMPTY: &str = "perennial_bench_empty";
const PREFIX: &str = "perennial_bench_";

/// A server with room for our databases.
pub(crate) struct Space {
    url: String,
    copies: AtomicU32,
}

impl Space {
    /// Makes the empty migrated database, by way of the testkit's template.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        let url = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
        let space = Self { url, copies: AtomicU32::new(0) };
        db_test_unchecked(async |db| {
            let made: anyhow::Result<()> = async {
                let admin = space.admin().await?;
                admin.batch_execute(&format!("DROP DATABASE IF EXISTS {EMPTY} WITH (FORCE)")).await?;
                Ok(admin.batch_execute(&format!("CREATE DATABASE {EMPTY} TEMPLATE {}", db.name())).await?)
            }
            .await;
            assert!(made.is_ok(), "cannot make {EMPTY}: {made:?}");
        });
        Ok(space)
    }

    pub(crate) async fn admin(&self) -> anyhow::Result<Client> {
        connect(&self.url).await
    }

    /// The loaded database of this description: one that is there from an earlier time, or a new one.
    pub(crate) async fn loaded(&self, book: &Book) -> anyhow::Result<Db> {
        let db = self.named(&format!("{PREFIX}{}", book.name()));
        let admin = self.admin().await?;
        let query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1";
        let found = admin.query_typed_opt(query, &[(&db.name, Type::NAME)]).await?;
        let wanted = format!("{:016x}", fingerprint(book));
        if let Some(row) = found {
            if row.get::<_, Option<&str>>(0) == Some(&wanted) {
                return Ok(db);
            }
            db.drop().await?;
        }
        admin.batch_execute(&format!("CREATE DATABASE {} TEMPLATE {EMPTY}", db.name)).await?;
        db.accept().await?;
        load::fill(&db, &admin, book).await.with_context(|| format!("loading {}", db.name))?;
        admin.batch_execute(&format!("COMMENT ON DATABASE {} IS '{wanted}'", db.name)).await?;
        Ok(db)
    }

    /// A fresh copy of a loaded database, for one run.
    pub(crate) async fn copy(&self, of: &Db) -> anyhow::Result<Db> {
        let admin = self.admin().await?;
        let version: i32 =
            admin.query_typed_one("SELECT current_setting('server_version_num')::int", &[]).await?.try_get(0)?;
        let strategy = if version >= 150_000 { "STRATEGY FILE_COPY" } else { "" };
        let db = self.named(&format!("{PREFIX}run_{}", self.copies.fetch_add(1, Ordering::Relaxed)));
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", db.name)).await?;
        admin.batch_execute(&format!("CREATE DATABASE {} TEMPLATE {} {strategy}", db.name, of.name)).await?;
        db.accept().await?;
        Ok(db)
    }

    /// A database by its name.
    pub(crate) fn named(&self, name: &str) -> Db {
        Db { name: name.to_owned(), server: self.url.clone() }
    }
}

/// A database of ours.
#[derive(Debug)]
pub(crate) struct Db {
    name: String,
    server: String,
}

impl Db {
    pub(crate) fn url(&self) -> String {
        // The last of several counts, in both forms a connection string has.
        match self.server.split_once('?') {
            Some((_, query)) => {
                format!("postgresql:///{}?{query}", self.name)
            }
            None => format!("{} dbname={}", self.server, self.name),
        }
    }

    /// A connection of a client that is to be measured: no JIT, as the passes have it.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let client = connect(&self.url()).await?;
        client.batch_execute("SET jit = off; SET search_path = public").await?;
        Ok(client)
    }

    /// A copy does not act until it is accepted.
    async fn accept(&self) -> anyhow::Result<()> {
        Ok(connect(&self.url()).await?.batch_execute(ACCEPT).await?)
    }

    pub(crate) async fn drop(&self) -> anyhow::Result<()> {
        let admin = connect(&self.server).await?;
        Ok(admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await?)
    }
}

/// A loaded database is used again only when schema and loader are the same.
fn fingerprint(book: &Book) -> u64 {
    let mut hasher = DefaultHasher::new();
    for migration in MIGRATIONS {
        migration.sql.hash(&mut hasher);
    }
    (load::STEPS, format!("{book:?}")).hash(&mut hasher);
    hasher.finish()
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with the client, or with an error that the client's next call reports.
    drop(tokio::spawn(connection));
    Ok(client)
}
