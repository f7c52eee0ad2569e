//! The migrations, in order. A test compares the list with the folder. The checks that `perennial verify` runs are listed in
//! `bin/admin/src/checks.rs`.

/// One forward step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Number, from 1 without gaps.
    pub version: u32,
    /// Name without the number.
    pub name: &'static str,
    /// The SQL, run in one transaction.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $file:literal $name:literal,)*) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../../sql/migrations/", $file, "_", $name, ".sql")),
        },)*]
    };
}

/// All migrations, oldest first.
pub const MIGRATIONS: &[Migration] = migrations![
    1 "0001" "users_and_tariffs",
    2 "0002" "access",
    3 "0003" "ledger",
    4 "0004" "payments",
    5 "0005" "passes",
    6 "0006" "bot_functions",
    7 "0007" "notices",
    8 "0008" "turnovers",
    9 "0009" "modes",
    10 "0010" "pruning",
    11 "0011" "times",
    12 "0012" "indexes",
    13 "0013" "proofs",
    14 "0014" "guards",
];

/// The schema this program was built for.
pub const VERSION: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The table in which the migration runner keeps what was applied.
pub const HISTORY_TABLE: &str = "refinery_schema_history";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/migrations");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<String> = MIGRATIONS.iter().map(|m| format!("{:04}_{}.sql", m.version, m.name)).collect();
        assert_eq!(files, listed);
    }
}
