//! The checks of the books: one query each, which returns what breaks an invariant.

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Name of its file without the ending.
    pub name: &'static str,
    /// The query: comment lines that say what it means, then one statement with the columns subject and problem.
    pub sql: &'static str,
}

impl Check {
    /// What it means, in one line: the comment in front of the query.
    #[must_use]
    pub fn meaning(&self) -> String {
        let lines = self.sql.lines().map_while(|line| line.strip_prefix("--"));
        lines.map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

macro_rules! checks {
    ($($name:literal,)*) => {
        &[$(Check { name: $name, sql: include_str!(concat!("../../../sql/checks/", $name, ".sql")) },)*]
    };
}

/// All checks, by name. The same files are run after every database test.
pub const CHECKS: &[Check] = checks![
    "active_has_open_credential",
    "charge_has_payment",
    "credential_until_expired",
    "expiring_is_closed",
    "no_day_paid_twice",
    "one_active_a_source",
    "one_charge_a_period",
    "one_open_credential_a_group",
    "one_trial_a_user",
    "one_wallet_a_user",
    "payment_matches_transfer",
    "receipt_has_payment",
    "renewal_has_payment",
    "retired_is_closed",
    "reversal_mirrors",
    "transfer_fits_kind",
    "turnovers_match_ledger",
    "voided_means_reversed",
    "wallet_balance",
    "wallet_not_overdrawn",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/checks");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<String> = CHECKS.iter().map(|check| format!("{}.sql", check.name)).collect();
        assert_eq!(files, listed);
    }

    #[test]
    fn every_check_says_what_it_means() {
        for check in CHECKS {
            let meaning = check.meaning();
            assert!(
                meaning.len() > 20 && (meaning.ends_with('.') || meaning.ends_with(')')),
                "{}: {meaning}",
                check.name
            );
        }
    }
}
