//! Ways to damage the books of `healthy`, one by one, that the schema would not allow.

/// Check, damage, what the check must say. Triggers are off while it is done; constraints are dropped where they alone
/// would prevent it.
pub const DAMAGE: &[(&str, &str, &str)] = &[
    (
        "wallet_balance",
        "UPDATE accounts SET balance_kopecks = balance_kopecks + 1 WHERE telegram_id = 11",
        "of user 11 holds 1 kopecks, its transfers say 0",
    ),
    (
        "wallet_balance",
        "INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks) SELECT 'x', \
         'top_up', 2, id, 500 FROM accounts WHERE telegram_id = 11",
        "of user 11 holds 0 kopecks, its transfers say 500",
    ),
    (
        "wallet_balance",
        "DELETE FROM transfers WHERE idempotency_key = 'top_up:top:4'",
        "of user 4 holds 4000 kopecks, its transfers say -1000",
    ),
    (
        "wallet_not_overdrawn",
        "ALTER TABLE accounts DROP CONSTRAINT accounts_wallet_not_overdrawn; UPDATE accounts SET balance_kopecks \
         = -5 WHERE telegram_id = 11",
        "of user 11 holds -5 kopecks",
    ),
    ("one_wallet_a_user", "DELETE FROM accounts WHERE telegram_id = 11", "user 11 has no wallet"),
    (
        "one_wallet_a_user",
        "DROP INDEX accounts_one_wallet_a_user; INSERT INTO accounts (kind, telegram_id, balance_kopecks) VALUES \
         ('wallet', 11, 0)",
        "user 11 has 2 wallets",
    ),
    ("one_wallet_a_user", "DELETE FROM users WHERE telegram_id = 11", "user 11 has a wallet, but is no user"),
    (
        "transfer_fits_kind",
        "UPDATE transfers SET credit_account = 3 WHERE idempotency_key = 'buy:buy:4'",
        "which is no way for its kind",
    ),
    (
        "transfer_fits_kind",
        "UPDATE transfers SET credit_account = debit_account + 1 WHERE idempotency_key = 'buy:buy:4'",
        "which is no way for its kind",
    ),
    (
        "transfer_fits_kind",
        "UPDATE transfers SET debit_account = 999 WHERE idempotency_key = 'buy:buy:4'",
        "moved 1000 kopecks from account 999 to 1",
    ),
    (
        "transfer_fits_kind",
        "ALTER TABLE transfers DROP CONSTRAINT transfers_kind_known; UPDATE transfers SET kind = 'gift' WHERE \
         idempotency_key = 'bonus'",
        "(gift) moved 77 kopecks",
    ),
    (
        "turnovers_match_ledger",
        "UPDATE turnovers SET kopecks = kopecks + 1 WHERE id = (SELECT min(id) FROM turnovers WHERE kind = 'top_up')",
        "kopecks of",
    ),
    (
        "turnovers_match_ledger",
        "DELETE FROM turnovers WHERE kind = 'refund'",
        "holds 0 kopecks of 0 transfers, the ledger",
    ),
    (
        "reversal_mirrors",
        "UPDATE transfers SET amount_kopecks = 1 WHERE idempotency_key = 'refund:r:3'",
        "moves 1 kopecks from 1 to",
    ),
    (
        "reversal_mirrors",
        "UPDATE transfers SET reverses = 99999 WHERE idempotency_key = 'refund:r:3'",
        "takes back transfer 99999, which is not there",
    ),
    (
        "reversal_mirrors",
        "ALTER TABLE transfers DROP CONSTRAINT transfers_reversal_names_its_transfer; UPDATE transfers SET \
         reverses = NULL WHERE idempotency_key = 'refund:r:3'",
        "is a reversal of nothing",
    ),
    (
        "reversal_mirrors",
        "ALTER TABLE transfers DROP CONSTRAINT transfers_reversal_names_its_transfer; UPDATE transfers SET \
         reverses = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:5') WHERE idempotency_key = \
         'bonus'",
        "is of kind adjustment and takes back transfer",
    ),
    (
        "reversal_mirrors",
        "UPDATE transfers SET reverses = (SELECT id FROM transfers WHERE idempotency_key = 'refund:r:10') WHERE \
         idempotency_key = 'refund:r:3'",
        "which is a reversal itself",
    ),
    (
        "reversal_mirrors",
        "DROP INDEX transfers_reverses_key; UPDATE transfers SET reverses = (SELECT \
         reverses FROM transfers WHERE idempotency_key = 'refund:r:10') WHERE idempotency_key = 'refund:r:3'",
        "is one of 2 that take back transfer",
    ),
    (
        "payment_matches_transfer",
        "UPDATE payments SET amount_kopecks = 999 WHERE subscription_id = (SELECT id FROM subscriptions WHERE \
         telegram_id = 4)",
        "of 999 kopecks names transfer",
    ),
    (
        "payment_matches_transfer",
        "UPDATE payments SET subscription_id = (SELECT id FROM subscriptions WHERE telegram_id = 7) WHERE \
         transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "of user 7 names transfer",
    ),
    (
        "payment_matches_transfer",
        "UPDATE payments SET transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'top_up:top:4') \
         WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "which is of kind top_up",
    ),
    (
        "payment_matches_transfer",
        "UPDATE payments SET transfer_id = 99999 WHERE transfer_id = (SELECT id FROM transfers WHERE \
         idempotency_key = 'buy:buy:4')",
        "names transfer 99999, which is not there",
    ),
    (
        "payment_matches_transfer",
        "ALTER TABLE payments DROP CONSTRAINT payments_free_has_no_transfer; UPDATE payments SET transfer_id = \
         NULL WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "of 1000 kopecks has no transfer",
    ),
    (
        "payment_matches_transfer",
        "ALTER TABLE payments DROP CONSTRAINT payments_free_has_no_transfer; UPDATE payments SET amount_kopecks = \
         0 WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "was free of charge, but names transfer",
    ),
    (
        "payment_matches_transfer",
        "DELETE FROM subscriptions WHERE telegram_id = 4",
        "is of a subscription that is not there",
    ),
    (
        "charge_has_payment",
        "DELETE FROM payments WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "(buy:buy:4) charged 1000 kopecks, but no payment names it",
    ),
    (
        "charge_has_payment",
        "ALTER TABLE payments DROP CONSTRAINT payments_transfer_id_key; UPDATE payments SET transfer_id = (SELECT \
         id FROM transfers WHERE idempotency_key = 'buy:buy:4') WHERE transfer_id = (SELECT id FROM transfers \
         WHERE idempotency_key = 'buy:buy:5')",
        "(buy:buy:4) is named by 2 payments",
    ),
    (
        "voided_means_reversed",
        "UPDATE payments SET voided_at = now() WHERE transfer_id = (SELECT id FROM transfers WHERE \
         idempotency_key = 'buy:buy:4')",
        "is voided, but its transfer",
    ),
    (
        "voided_means_reversed",
        "UPDATE payments SET voided_at = NULL WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key \
         = 'buy:buy:3')",
        "stands, but its transfer",
    ),
    (
        "no_day_paid_twice",
        "UPDATE payments SET period_start = period_start - interval '1 hour' WHERE transfer_id = (SELECT id FROM \
         transfers WHERE idempotency_key LIKE 'renew:%' AND debit_account = (SELECT id FROM accounts WHERE \
         telegram_id = 1))",
        "were paid for before",
    ),
    (
        "one_charge_a_period",
        "INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks) SELECT \
         t.idempotency_key || ':2', 'charge', t.debit_account, 1, 1000 FROM transfers t JOIN accounts a ON a.id = \
         t.debit_account AND a.telegram_id = 1 WHERE t.idempotency_key LIKE 'renew:%'",
        "was charged 2 times for the period that starts at",
    ),
    (
        "renewal_has_payment",
        "INSERT INTO audit_log (actor, action, subscription_id, before, after) SELECT 'renew', 'renewed', id, \
         '{\"expires_at\": \"2026-01-01T00:00:00Z\"}', '{\"expires_at\": \"2026-01-02T00:00:00Z\", \
         \"amount_kopecks\": 1000}' FROM subscriptions WHERE telegram_id = 1",
        "says renewed from 2026-01-01 00:00:00 to 2026-01-02 00:00:00 for 1000 kopecks, but there is no such \
         payment",
    ),
    (
        "renewal_has_payment",
        "INSERT INTO audit_log (actor, action, subscription_id, before, after) VALUES ('renew', 'renewed', NULL, \
         '{\"expires_at\": \"soon\"}', NULL)",
        "but there is no such payment",
    ),
    (
        "renewal_has_payment",
        "DELETE FROM audit_log WHERE action = 'renewed' AND telegram_id = 1",
        "but no audit row says so",
    ),
    (
        "renewal_has_payment",
        "DELETE FROM audit_log WHERE action = 'renewed' AND telegram_id = 2",
        "was free of charge, but no audit row of that moment says so",
    ),
    (
        "renewal_has_payment",
        "DELETE FROM audit_log WHERE action = 'bought' AND telegram_id = 2",
        "was free of charge, but no audit row of that moment says so",
    ),
    (
        "renewal_has_payment",
        "UPDATE audit_log SET after = after || '{\"amount_kopecks\": 1}' WHERE action = 'renewed' AND telegram_id \
         = 1",
        "for 1 kopecks, but there is no such payment",
    ),
    (
        "receipt_has_payment",
        "INSERT INTO notices (telegram_id, kind, dedupe_key) VALUES (1, 'renewed', 'renewed:1:1')",
        "to user 1 is a receipt (renewed:1:1), but that period was not paid for",
    ),
    (
        "receipt_has_payment",
        "INSERT INTO notices (telegram_id, kind, dedupe_key) VALUES (1, 'renewed', 'renewed:x:y'), (1, 'renewed', \
         'renewed::'), (1, 'renewed', 'renewed:99999999999999999999:1')",
        "is a receipt (renewed:x:y)",
    ),
    (
        "active_has_open_credential",
        "UPDATE credentials SET closed_at = now() WHERE telegram_id = 1",
        "of user 1 is active on credential",
    ),
    (
        "active_has_open_credential",
        "UPDATE subscriptions SET credential_id = (SELECT id FROM credentials WHERE telegram_id = 2) WHERE \
         telegram_id = 1",
        "of user 2",
    ),
    (
        "active_has_open_credential",
        "UPDATE subscriptions SET credential_id = 99999 WHERE telegram_id = 1",
        "is active on credential 99999, which is not there",
    ),
    (
        "active_has_open_credential",
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_credential_until_expired; UPDATE subscriptions \
         SET credential_id = NULL WHERE telegram_id = 1",
        "is active without a credential",
    ),
    (
        "one_active_a_source",
        "DROP INDEX subscriptions_one_active_a_source; INSERT INTO subscriptions (telegram_id, source, tariff, \
         credential_id, expires_at, anchor_day) SELECT telegram_id, source, tariff, credential_id, expires_at, 1 \
         FROM subscriptions WHERE telegram_id = 1",
        "user 1 has 2 active subscriptions of source payment",
    ),
    (
        "one_trial_a_user",
        "DROP INDEX subscriptions_one_trial_a_user; INSERT INTO subscriptions (telegram_id, source, tariff, \
         status, expires_at, anchor_day) VALUES (5, 'trial', 'day', 'expired', now(), 1)",
        "user 5 has had 2 trials",
    ),
    (
        "credential_until_expired",
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_credential_until_expired; UPDATE subscriptions \
         SET status = 'expired' WHERE telegram_id = 9",
        "of user 9 is expired, but still has credential",
    ),
    (
        "credential_until_expired",
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_credential_until_expired; UPDATE subscriptions \
         SET credential_id = NULL WHERE telegram_id = 9",
        "of user 9 is expiring without a credential",
    ),
    (
        "expiring_is_closed",
        "UPDATE credentials SET closed_at = NULL WHERE telegram_id = 9",
        "of user 9 is expiring on credential",
    ),
    (
        "one_open_credential_a_group",
        "DROP INDEX credentials_one_open_a_group; UPDATE credentials SET closed_at = NULL WHERE telegram_id = 5",
        "user 5 has 2 open credentials in group basic",
    ),
    (
        "retired_is_closed",
        "ALTER TABLE credentials DROP CONSTRAINT credentials_close_before_retire; UPDATE credentials SET \
         retired_at = now() WHERE telegram_id = 7",
        "of user 7 was retired at",
    ),
];
