//! How the service stands, to be compared.

use perennial_core::money::Kopecks;
use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use super::made_up::failed;
use crate::failure::Failure;
use crate::output::{rubles, table};

const FIGURES: &str = include_str!("figures.sql");

/// Figures of one moment. Those that only the clock moves are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Figures(Vec<Figure>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Figure {
    name: String,
    value: i64,
    is_money: bool,
}

impl Figures {
    pub(super) async fn read(client: &Client) -> Result<Self, Failure> {
        let rows = client.query_typed(FIGURES, &[]).await.map_err(|error| failed(&error))?;
        let figure = |row: &tokio_postgres::Row| Figure {
            name: row.get("name"),
            value: row.get("value"),
            is_money: row.get("is_money"),
        };
        Ok(Self(rows.iter().map(figure).collect()))
    }

    /// A table of both and of the difference.
    pub(super) fn compared(&self, after: &Self) -> String {
        let mut rows = vec![["", "before", "after", "change"].map(str::to_owned).to_vec()];
        rows.extend(self.0.iter().zip(&after.0).map(|(before, after)| {
            let shown = |value| if before.is_money { rubles(Kopecks(value)) } else { value.to_string() };
            let change = after.value - before.value;
            let sign = if change > 0 { "+" } else { "" };
            let change = if change == 0 { String::new() } else { format!("{sign}{}", shown(change)) };
            vec![before.name.clone(), shown(before.value), shown(after.value), change]
        }));
        table(&rows, &[1, 2, 3])
    }

    pub(super) fn json(&self) -> Value {
        let member = |figure: &Figure| {
            let unit = if figure.is_money { "_kopecks" } else { "" };
            (format!("{}{unit}", figure.name.trim().replace([' ', ','], "_")), json!(figure.value))
        };
        Value::Object(self.0.iter().map(member).collect::<Map<_, _>>())
    }
}
