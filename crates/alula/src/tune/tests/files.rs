//! Tables in files: read back, damaged, foreign.

use std::collections::BTreeSet;

use super::{chosen, cpu};
use crate::tune::{Table, TableError};
use crate::{Error, ErrorKind};

/// A table of one entry, as a file holds it.
const FILE: &str = r#"{
  "format": 1,
  "cpu": {
    "model": "Abacus 9",
    "kernels": "portable",
    "features": [
      "beads"
    ]
  },
  "threads": 1,
  "graphs": {},
  "contractions": {
    "77": {
      "what": "300 x 64 x 200",
      "default": "whole on portable",
      "chosen": "whole on portable, rows 64",
      "trials": [
        {
          "choice": "whole on portable, rows 64",
          "against": "whole on portable",
          "ms": 0.8,
          "against_ms": 1.0,
          "noise": 0.01,
          "rounds": 12
        }
      ]
    }
  }
}
"#;

#[test]
fn tables_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table.json");
    std::fs::write(&file, FILE).expect("written");
    let table = Table::read(&file, &cpu()).expect("a table");
    assert_eq!(table.to_text(), FILE);
    assert_eq!(
        chosen(&table),
        BTreeSet::from(["whole on portable, rows 64"])
    );
    let copy = folder.path().join("copy.json");
    table.write(&copy).expect("written");
    assert_eq!(std::fs::read_to_string(&copy).expect("there"), FILE);
}

#[test]
fn damaged_and_foreign_tables_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table.json");
    let refused = |text: &str| {
        std::fs::write(&file, text).expect("written");
        Table::read(&file, &cpu()).expect_err(text).to_string()
    };
    for (from, to, says) in [
        (
            "\"format\": 1",
            "\"format\": 2",
            "format 2, this version of Alula reads 1",
        ),
        ("\"format\": 1,", "", "states no format"),
        ("\"threads\": 1,", "", "missing field `threads`"),
        ("\"threads\"", "\"treads\"", "unknown field `treads`"),
        ("\"ms\": 0.8", "\"ms\": \"fast\"", "line 21"),
        ("\"ms\": 0.8", "\"ms\": -0.8", "no sensible times"),
        (
            "Abacus 9",
            "Abacus 8",
            "was \"Abacus 8\", here it is \"Abacus 9\"",
        ),
        (
            "portable\",\n    \"features",
            "neon\",\n    \"features",
            "was \"neon\"",
        ),
        ("beads", "strings", "features were \"strings\""),
        ("\"chosen\": \"whole", "\"chosen\": \"six", "never measured"),
        (
            "portable, rows 64",
            "portable, rows 0",
            "no way to run a contraction",
        ),
    ] {
        let error = refused(&FILE.replace(from, to));
        assert!(error.contains(says), "{to}: {error}");
    }
    for text in ["", "{", "[]", "null", &FILE[..FILE.len() / 2]] {
        assert!(refused(text).contains("no table of schedules"), "{text}");
    }
    std::fs::remove_file(&file).expect("it is there");
    let error = Table::read(&file, &cpu()).expect_err("no file");
    assert!(matches!(error, TableError::Io { .. }), "{error}");
    let foreign = Error::from(error);
    assert_eq!(foreign.kind(), ErrorKind::User);
}
