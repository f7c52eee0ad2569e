//! Triggers that go wrong on one row, as an operator's own might.

use perennial_core::ids::SubscriptionId;
use tokio_postgres::Client;

/// A trigger of the test's own.
#[derive(Debug, Clone, Copy)]
pub struct Sabotage {
    /// What it does, for the message of a failed test.
    pub what: &'static str,
    /// Table it is on.
    pub table: &'static str,
    /// `BEFORE UPDATE`, `AFTER INSERT`, …
    pub timing: &'static str,
    /// For which rows: an SQL condition on `NEW` in which `$id` and `$user` stand for the row.
    pub when: &'static str,
    /// The body of the function, before its `RETURN NEW`.
    pub body: &'static str,
    /// Whether it waits for the COMMIT.
    pub deferred: bool,
}

impl Sabotage {
    /// Raises an error, with the SQLSTATE of a plain RAISE.
    pub const fn raise(what: &'static str, table: &'static str, timing: &'static str, when: &'static str) -> Self {
        Self { what, table, timing, when, body: "RAISE EXCEPTION 'sabotage';", deferred: false }
    }

    /// Installs it against one row. It meddles with the rights of whoever installed it, not with those of the pass.
    pub async fn against(&self, client: &Client, id: SubscriptionId, user: i64) {
        let fill = |text: &str| text.replace("$id", &id.to_string()).replace("$user", &user.to_string());
        let sql = format!(
            "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $f$
             BEGIN IF {} THEN {} END IF; RETURN NEW; END $f$;
             CREATE {} sabotage {} ON {} {} FOR EACH ROW EXECUTE FUNCTION sabotage()",
            fill(self.when),
            fill(self.body),
            if self.deferred { "CONSTRAINT TRIGGER" } else { "TRIGGER" },
            self.timing,
            self.table,
            if self.deferred { "DEFERRABLE INITIALLY DEFERRED" } else { "" },
        );
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{}: {error:?}", self.what));
    }

    /// Removes it.
    pub async fn remove(&self, client: &Client) {
        let sql = format!("DROP TRIGGER sabotage ON {}; DROP FUNCTION sabotage()", self.table);
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{}: {error:?}", self.what));
    }
}
