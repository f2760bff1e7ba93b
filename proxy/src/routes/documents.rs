//! Documents from files and from control, put together.
//!
//! Control has checked its own by itself, and knows nothing of this machine's files: an object whose name
//! or place a file has taken is left out here, and control is told so.

use std::collections::HashSet;

use clearway_config::settings::{
    Document, Fault, Gateway, SettingsError, Source, UpstreamAddress, fault::Step, gateway::ObjectKind,
};
use clearway_config::sync::v1::RefusedObject;

/// Objects of control left out at most; with more than that in conflict nothing of a change is taken.
const LEFT_OUT_MAX: usize = 16;

/// The files of one moment.
#[derive(Debug)]
pub(super) struct FileDocuments {
    sources: Vec<Source>,
    documents: Vec<Document>,
}

impl FileDocuments {
    pub(super) fn read(sources: Vec<Source>) -> Result<Self, SettingsError> {
        let documents = sources.iter().map(Source::document).collect::<Result<_, _>>()?;
        Ok(Self { sources, documents })
    }

    /// The gateway of these files and of what control says, and what of that is left out.
    pub(super) fn with(
        &self,
        objects: &Document,
        control: &UpstreamAddress,
    ) -> Result<(Gateway, Vec<RefusedObject>), SettingsError> {
        let mut documents = self.documents.clone();
        let (rest, mut refused) = self.without_names_taken(objects);
        documents.push(rest);
        for _ in 0..=LEFT_OUT_MAX {
            match Gateway::of(&documents, control) {
                Ok(gateway) => return Ok((gateway, refused)),
                Err((at, fault)) if at < self.sources.len() => return Err(self.sources[at].located(&fault)),
                Err((at, fault)) => {
                    let Some((kind, name)) = leave_out(&mut documents[at], &fault) else { return Err(of_control(&fault)) };
                    let reason = fault.clone().inside(2).to_string();
                    tracing::warn!(object.kind = %kind, object.name = name, reason, "an object of the control plane is left out");
                    refused.push(RefusedObject { kind: kind.to_string(), name, reason });
                }
            }
        }
        Err(of_control(&Fault::new(format!("more than {LEFT_OUT_MAX} objects are in conflict with this machine's files"))))
    }

    fn without_names_taken(&self, objects: &Document) -> (Document, Vec<RefusedObject>) {
        let taken: HashSet<_> = self
            .documents
            .iter()
            .flat_map(|document| Document::clone(document).into_objects())
            .map(|object| (object.kind, object.name))
            .collect();
        let mut rest = objects.clone();
        let mut refused = Vec::new();
        let mut is_free = |kind: ObjectKind, name: &str| {
            let free = !taken.contains(&(kind, name.to_owned()));
            if !free {
                tracing::warn!(object.kind = %kind, object.name = name, "left out: a file has one of this name");
                let reason = "a file of this gateway has one of this name".to_owned();
                refused.push(RefusedObject { kind: kind.to_string(), name: name.to_owned(), reason });
            }
            free
        };
        rest.upstreams.retain(|spec| is_free(ObjectKind::Upstream, &spec.name));
        rest.issuers.retain(|spec| is_free(ObjectKind::Issuer, &spec.name));
        rest.client_certificates.retain(|spec| is_free(ObjectKind::ClientCertificate, &spec.name));
        rest.policies.retain(|spec| is_free(ObjectKind::Policy, &spec.name));
        rest.routes.retain(|spec| is_free(ObjectKind::Route, &spec.name));
        (rest, refused)
    }
}

/// Removes the object that a fault is in and says which that is; `None` where it is in none.
fn leave_out(document: &mut Document, fault: &Fault) -> Option<(ObjectKind, String)> {
    let [Step::Key(list), Step::Index(at), ..] = fault.place() else { return None };
    fn remove<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
        (at < list.len()).then(|| list.remove(at))
    }
    let kind = ObjectKind::ALL.into_iter().find(|kind| kind.plural() == list)?;
    let name = match kind {
        ObjectKind::Upstream => remove(&mut document.upstreams, *at)?.name,
        ObjectKind::Issuer => remove(&mut document.issuers, *at)?.name,
        ObjectKind::ClientCertificate => remove(&mut document.client_certificates, *at)?.name,
        ObjectKind::Policy => remove(&mut document.policies, *at)?.name,
        ObjectKind::Route => remove(&mut document.routes, *at)?.name,
    };
    Some((kind, name))
}

fn of_control(fault: &Fault) -> SettingsError {
    SettingsError {
        file: "the control plane".into(),
        line: None,
        key: Some(fault.place_text()),
        message: fault.message().to_owned(),
    }
}
