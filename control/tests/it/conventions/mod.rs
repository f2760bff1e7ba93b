//! What every operation of the document keeps to, tried on the whole router: versions, pages, repetitions and bodies. What
//! does not is named, with the reason.

mod bodies;
mod lists;
mod repetition;
mod versions;

use clearway_config::scope::ADMIN;

use crate::{
    app::Client,
    document::{Access, Operation},
    isolation::world::{Person, Target, World},
};

/// An exception: `METHOD /path`, and why.
type Exceptions = &'static [(&'static str, &'static str)];

fn reason(exceptions: Exceptions, operation: &Operation) -> Option<&'static str> {
    let name = operation.name();
    exceptions.iter().find(|(other, _)| *other == name).map(|(_, reason)| *reason)
}

/// Every exception is of an operation that there is, and that there would be no other reason for.
#[track_caller]
fn all_needed<'o>(exceptions: Exceptions, needed: impl IntoIterator<Item = &'o Operation>) {
    let needed: Vec<String> = needed.into_iter().map(Operation::name).collect();
    for (name, _) in exceptions {
        assert!(needed.iter().any(|other| other == name), "{name} is excepted from what it does anyway, or is gone");
    }
}

/// Who may do it: somebody of Ann's account, or whoever runs Clearway.
struct Doer<'w> {
    world: &'w World,
    person: Person,
    is_admin: bool,
}

impl<'w> Doer<'w> {
    /// Somebody new, where people do it to themselves.
    async fn of(world: &'w World, operation: &Operation) -> Self {
        let person = match operation.access {
            Access::Session => world.member("owner").await,
            Access::Open | Access::Scope(_) => world.ann.clone(),
        };
        Self { world, person, is_admin: operation.access == Access::Scope(ADMIN.into()) }
    }

    fn client(&self) -> Client<'w> {
        if self.is_admin { self.world.app.admin() } else { self.world.by(&self.person) }
    }

    /// Something of its own for every operation.
    async fn target(&self, operation: &Operation) -> Target {
        self.world.made(operation, &self.world.ann, &self.person).await
    }
}
