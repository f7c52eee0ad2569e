//! Plans of the repository's statements, as the server makes them without looking at the values.

use serde_json::Value;
use tokio_postgres::Client;

use super::statements::Statement;

/// A node of a plan with all nodes below it.
pub fn nodes(plan: &Value) -> Vec<&Value> {
    let below = plan["Plans"].as_array().into_iter().flatten();
    std::iter::once(plan).chain(below.flat_map(nodes)).collect()
}

/// A scan of a whole table that is not one of the small ones.
pub fn is_seq_scan(node: &Value, small: &[&str]) -> bool {
    node["Node Type"] == "Seq Scan" && !small.contains(&node["Relation Name"].as_str().unwrap_or_default())
}

/// The generic plan of a statement.
pub async fn plan(client: &Client, statement: &Statement) -> Value {
    client.batch_execute(&statement.prepare()).await.unwrap();
    let row = client.query_typed_one(&statement.explain(), &[]).await.unwrap();
    let mut plan: Value = row.get(0);
    plan[0]["Plan"].take()
}
