//! What a service has come to, without what differs from run to run: times are counted from its beginning.

use std::collections::BTreeMap;

use super::{Service, TAG};

/// What stands in the database, on the servers and in the chats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub books: Vec<String>,
    /// Of each notice its user and kind, and what became of it.
    pub notices: BTreeMap<String, String>,
    /// Node and e-mail, with whether the UUID is the credential's.
    pub nodes: Vec<String>,
    /// Messages a chat.
    pub messages: BTreeMap<i64, usize>,
}

/// Audit rows of effects on servers are left out: a crash after the effect may lose them.
const BOOKS: &str = "SELECT line FROM (
    SELECT concat_ws(' ', 'subscription', s.id, status, s.expires_at - b.at, auto_renew, last_auto_renewal_at IS NOT NULL,
        short_stage, short_balance_kopecks, short_price_kopecks, next_reminder_at - starts_at,
        credential_id IS NOT NULL) FROM subscriptions s, base b
    UNION ALL SELECT concat_ws(' ', 'wallet', telegram_id, balance_kopecks) FROM accounts WHERE kind = 'wallet'
    UNION ALL SELECT concat_ws(' ', 'transfer', regexp_replace(idempotency_key, ':[0-9]{10,}', ''), kind,
        debit_account, credit_account, amount_kopecks) FROM transfers
    UNION ALL SELECT concat_ws(' ', 'payment', p.subscription_id, p.tariff, p.period_start - b.at, p.period_end - b.at,
        p.amount_kopecks, voided_at IS NULL) FROM payments p, base b
    UNION ALL SELECT concat_ws(' ', 'parked', pass, subscription, tries, reason, next_try_at IS NULL) FROM parked
    UNION ALL SELECT concat_ws(' ', 'credential', telegram_id, id, closed_at IS NOT NULL, retired_at IS NOT NULL)
        FROM credentials
    UNION ALL SELECT concat_ws(' ', 'removal', credential, node) FROM removals
    UNION ALL SELECT concat_ws(' ', 'orphan', node, inbound, email, reason, adopted) FROM orphans
    UNION ALL SELECT concat_ws(' ', 'audit', actor, action, telegram_id, subscription_id, reason) FROM audit_log
        WHERE action NOT IN ('removed', 'restored', 'replaced', 'added')
) l (line) ORDER BY line COLLATE \"C\"";

impl Service {
    pub async fn outcome(&self) -> Outcome {
        let rows = self.client.query_typed(BOOKS, &[]).await.unwrap();
        let books = rows.iter().map(|row| row.get(0)).collect();
        let sql = "SELECT concat_ws(' ', telegram_id, kind, params ->> 'stage'), status FROM notices";
        let rows = self.client.query_typed(sql, &[]).await.unwrap();
        let notices: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(notices.len(), rows.len(), "somebody is told the same twice");
        let mut messages = BTreeMap::new();
        for message in self.telegram.messages() {
            *messages.entry(message.chat_id).or_default() += 1;
        }
        Outcome { books, notices, nodes: self.on_nodes().await, messages }
    }

    async fn on_nodes(&self) -> Vec<String> {
        let rows = self.client.query_typed("SELECT email, uuid FROM credentials", &[]).await.unwrap();
        let uuids: BTreeMap<String, uuid::Uuid> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let users = (1..).zip(&self.nodes).flat_map(|(n, node)| node.users(TAG).into_iter().map(move |user| (n, user)));
        users.map(|(n, user)| format!("n{n} {} {}", user.email, uuids.get(&user.email) == Some(&user.uuid))).collect()
    }

    /// Who has a right and is not on a server with it, and who is there without one. Empty at rest.
    pub async fn drift(&self) -> Vec<String> {
        let sql = "SELECT c.email, c.uuid, EXISTS (SELECT FROM subscriptions s WHERE s.credential_id = c.id
                       AND s.status = 'active') FROM credentials c";
        let rows = self.client.query_typed(sql, &[]).await.unwrap();
        let mut drift = Vec::new();
        for (n, node) in (1..).zip(&self.nodes) {
            let mut there: BTreeMap<String, uuid::Uuid> =
                node.users(TAG).into_iter().map(|user| (user.email, user.uuid)).collect();
            for row in &rows {
                let (email, uuid, entitled): (&str, uuid::Uuid, bool) = (row.get(0), row.get(1), row.get(2));
                match (entitled, there.remove(email)) {
                    (true, None) => drift.push(format!("n{n}: {email} is entitled and absent")),
                    (true, Some(found)) if found != uuid || !node.can_connect(uuid) => {
                        drift.push(format!("n{n}: {email} is entitled and cannot connect"));
                    }
                    (false, Some(_)) => drift.push(format!("n{n}: {email} is there without a right")),
                    _ => {}
                }
            }
            drift.extend(there.keys().map(|email| format!("n{n}: {email} is known to nobody")));
        }
        drift
    }
}
