//! Every SQL literal in the sources is prepared on both engines: what `query!` gives, for two of them.

use std::{fs, path::Path};

use clearway_control::db::Db;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use syn::visit::{self, Visit};

use crate::databases::{Engine, TestDb};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    sqlite: String,
    postgres: String,
}

#[derive(Debug, Default)]
struct Found {
    statements: Vec<Statement>,
    /// The files that run what cannot be read here.
    opaque: Vec<String>,
    file: String,
}

impl<'a> Visit<'a> for Found {
    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        if call.method == "query" {
            match call.args.first().map(literals) {
                Some(Some(statement)) => self.statements.push(statement),
                Some(None) => self.opaque.push(self.file.clone()),
                // The query of a URI.
                None => {}
            }
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        let for_tests = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
        });
        if !for_tests {
            visit::visit_item_mod(self, module);
        }
    }
}

/// `"…"` or `PerEngine { sqlite: "…", postgres: "…" }`.
fn literals(argument: &syn::Expr) -> Option<Statement> {
    let text = |expr: &syn::Expr| match expr {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    };
    if let Some(both) = text(argument) {
        return Some(Statement { sqlite: both.clone(), postgres: both });
    }
    let syn::Expr::Struct(per_engine) = argument else { return None };
    let field = |name: &str| {
        let field =
            per_engine.fields.iter().find(|field| matches!(&field.member, syn::Member::Named(member) if member == name))?;
        text(&field.expr)
    };
    Some(Statement { sqlite: field("sqlite")?, postgres: field("postgres")? })
}

fn find(dir: &Path, found: &mut Found) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            find(&path, found);
        } else if name.ends_with(".rs") && !["tests.rs", "testing.rs"].contains(&name) {
            found.file = path.display().to_string();
            found.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
}

/// What the engine says against a statement.
async fn fault(db: &Db, statement: &Statement) -> Option<String> {
    let outcome = match db {
        Db::Sqlite { write, .. } => write.prepare(AssertSqlSafe(statement.sqlite.clone()).into_sql_str()).await.map(|_| ()),
        Db::Postgres { pool, .. } => pool.prepare(AssertSqlSafe(statement.postgres.clone()).into_sql_str()).await.map(|_| ()),
    };
    outcome.err().map(|why| format!("{}: {why}: {statement:?}", db.engine()))
}

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    let mut found = Found::default();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.opaque.is_empty(), "SQL must be a literal where it is run: {:#?}", found.opaque);
    assert!(found.statements.len() > 50, "only {} statements were found", found.statements.len());
    for engine in Engine::BOTH {
        let TestDb { db, .. } = &TestDb::new(engine).await;
        for statement in &found.statements {
            assert_eq!(fault(db, statement).await, None);
        }
    }
}

/// Each is what the test above must notice: good on one engine only, or on none.
#[tokio::test]
async fn a_statement_that_one_engine_does_not_know_is_noticed() {
    let file = r#"
        fn f() {
            db.query("SELECT strftime('%s', 'now')");
            tx.query("SELECT now()");
            db.query("SELECT nothing FROM accounts");
            db.query(PerEngine { sqlite: "SELECT now()", postgres: "SELECT 1" });
            db.query(sql);
            #[cfg(test)]
            mod tests { fn g() { db.query(anything); } }
        }
    "#;
    let mut found = Found::default();
    found.visit_file(&syn::parse_file(file).unwrap());
    assert_eq!((found.statements.len(), found.opaque.len()), (4, 1));
    let mut faults = [0; 2];
    for (n, engine) in Engine::BOTH.into_iter().enumerate() {
        let TestDb { db, .. } = &TestDb::new(engine).await;
        for statement in &found.statements {
            faults[n] += usize::from(fault(db, statement).await.is_some());
        }
    }
    assert_eq!(faults, [3, 2]);
}
