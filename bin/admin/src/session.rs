//! What all commands share: settings, logs, the way to the database, and whether it may be written to.

use std::sync::Arc;
use std::time::Duration;

use perennial_boot::{
    BaseOptions, Config, Connection, Origin, Output, forbid_core_dumps, judge_installation, judge_schema, start_logs,
};
use perennial_core::db::{Actor, Database, DatabaseOptions, DbError};
use perennial_core::ids::RunId;
use perennial_core::time::{DatabaseClock, Deadline};

use crate::failure::Failure;

/// Stands in every audit row.
pub const ACTOR: &str = "admin";
/// How long a try waits for a row that somebody holds; there are five. A person waits with it.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
/// Limit of one statement.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);
/// A command has no budget of its own; this only bounds what would hang.
const BUDGET: Duration = Duration::from_secs(24 * 3600);

/// Settings and connection of one command.
#[derive(Debug)]
pub struct Session {
    /// The settings file's content, or defaults.
    pub config: Config,
    /// How to reach the database.
    pub connection: Connection,
    /// Form of the answer.
    pub output: Output,
    /// Names this command in logs and keys.
    pub run_id: RunId,
    /// The flags.
    pub options: BaseOptions,
}

impl Session {
    /// Reads the settings and starts the logs; connects nowhere.
    ///
    /// # Errors
    /// Exit code 78: the settings cannot be used.
    pub fn start(options: BaseOptions) -> Result<Self, Failure> {
        let run_id = RunId::new();
        let undumpable = forbid_core_dumps();
        start_logs(Origin { program: ACTOR, run_id }, &options, options.log_format.unwrap_or_default());
        if let Err(error) = undumpable {
            log::warn!(error:% = error; "core dumps could not be forbidden: they would hold the database's password");
        }
        let (config, _) = Config::load(options.config.as_deref())?;
        let connection = Connection::new(&options, &config)?;
        Ok(Self { config, connection, output: options.output.unwrap_or_default(), run_id, options })
    }

    /// The database, whatever is in it.
    ///
    /// # Errors
    /// The pool cannot be built.
    pub fn database(&self) -> Result<Database, Failure> {
        self.database_of(1)
    }

    fn database_of(&self, connections: usize) -> Result<Database, Failure> {
        let options = DatabaseOptions {
            pool_size: connections,
            statement_limit: STATEMENT_LIMIT,
            lock_limit: LOCK_LIMIT,
            ..DatabaseOptions::of(Actor { name: ACTOR, run_id: self.run_id })
        };
        Ok(self.connection.open(options, Arc::new(DatabaseClock::new()), Deadline::after(BUDGET))?)
    }

    /// The database for a command that only reads: a copy may be read.
    ///
    /// # Errors
    /// Exit code 78 for another schema than ours; 69 when it cannot be reached.
    pub async fn reader(&self) -> Result<Database, Failure> {
        self.reader_of(1).await
    }

    /// The same, for a command that reads several things at once.
    ///
    /// # Errors
    /// As [`reader`](Self::reader).
    pub async fn reader_of(&self, connections: usize) -> Result<Database, Failure> {
        let db = self.database_of(connections)?;
        let schema = db.run_tx("check_schema", async |tx| tx.schema_version().await).await;
        let schema = schema.map_err(|error| self.of_database(error))?;
        judge_schema(schema)?;
        Ok(db)
    }

    /// The database for a command that writes.
    ///
    /// # Errors
    /// As [`reader`](Self::reader); exit code 78 also for a copied database and another owner prefix.
    pub async fn writer(&self) -> Result<Database, Failure> {
        let db = self.reader().await?;
        let installation = db.run_tx("check_installation", async |tx| tx.installation().await).await?;
        judge_installation(&installation, &self.config.owner_prefix)?;
        Ok(db)
    }

    /// Says which database it was that cannot be reached or used.
    fn of_database(&self, error: DbError) -> Failure {
        let names_it = matches!(error, DbError::Unavailable { .. } | DbError::Configuration { .. });
        let failure = Failure::from(error);
        match names_it {
            true => Failure { message: format!("database {}: {}", self.connection, failure.message), ..failure },
            false => failure,
        }
    }

    /// A connection with a session of its own.
    ///
    /// # Errors
    /// Exit code 69 or 78.
    pub async fn connect_directly(&self) -> Result<tokio_postgres::Client, Failure> {
        let client = self.connection.connect_directly().await;
        client.map_err(|error| Failure::of_driver(&format!("database {}", self.connection), &error))
    }
}
