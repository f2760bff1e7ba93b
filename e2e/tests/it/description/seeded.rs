//! Objects for operations to be tried out on. Ids that are made up lead nowhere, so that without these hardly anything behind a
//! path with an id is ever done: each operation is given an object of its own, which it may change and take away.

use reqwest::{Client, Method};
use serde_json::Value;

/// Where the objects are whoever asks, and what they need to ask with.
const OF_THE_CALLER: [&str; 4] =
    ["/api/v1/admin/accounts", "/api/v1/admin/users", "/api/v1/members", "/api/v1/users/me/sessions"];

pub(super) struct Seeds<'a> {
    pub(super) url: &'a str,
    pub(super) token: &'a str,
    pub(super) http: Client,
}

impl Seeds<'_> {
    /// Writes ids of objects that there are into the document, as examples of the parameters that name them; for how many operations.
    pub(super) async fn sow(&self, document: &mut Value) -> usize {
        let paths = document["paths"].as_object().expect("paths").iter();
        let operations: Vec<(String, String)> = paths
            .filter(|(path, _)| path.contains('{'))
            .flat_map(|(path, item)| item.as_object().into_iter().flatten().map(|(method, _)| (path.clone(), method.clone())))
            .collect();
        let mut sown = 0;
        for (n, (path, method)) in operations.iter().enumerate() {
            let Some(named) = self.named(document, path, n).await else { continue };
            let parameters = document["paths"][path][method]["parameters"].as_array_mut().expect("a path's parameters");
            for (name, id) in named {
                let parameter = parameters.iter_mut().find(|one| one["in"] == "path" && one["name"] == *name);
                parameter.expect("each is described")["example"] = id.into();
            }
            sown += 1;
        }
        sown
    }

    /// Something for each parameter of a path, the later ones within the earlier.
    async fn named(&self, document: &Value, path: &str, n: usize) -> Option<Vec<(String, String)>> {
        let (mut template, mut at, mut named) = (String::new(), String::new(), Vec::new());
        for segment in path.split('/').skip(1) {
            match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                None => at.push_str(&format!("/{segment}")),
                Some(name) => {
                    let id = self.made(&document["paths"][&template]["post"], &template, &at, (name, n)).await?;
                    at.push_str(&format!("/{id}"));
                    named.push((name.to_owned(), id));
                }
            }
            template.push_str(&format!("/{segment}"));
        }
        Some(named)
    }

    /// What the collection's own example makes; else the first that is in it.
    async fn made(&self, post: &Value, template: &str, at: &str, (name, n): (&str, usize)) -> Option<String> {
        if OF_THE_CALLER.contains(&template) {
            return None;
        }
        let id = |of: &Value| [&of["id"], &of[name]].into_iter().find_map(Value::as_str).map(str::to_owned);
        let mut body = post["requestBody"]["content"]["application/json"]["example"].clone();
        for unique in ["name", "slug"] {
            if let Some(text) = body[unique].as_str() {
                body[unique] = format!("{text}-{n}").into();
            }
        }
        if body.is_object()
            && let Some(made) = self.ask(Method::POST, at, Some(&body)).await.and_then(|made| id(&made))
        {
            return Some(made);
        }
        self.ask(Method::GET, at, None).await.and_then(|list| id(&list["items"][0]))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Option<Value> {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(self.token);
        let answer = body.into_iter().fold(request, reqwest::RequestBuilder::json).send().await.expect("an answer");
        let mut answer: Value = if answer.status().is_success() { answer.json().await.ok()? } else { return None };
        Some(answer["data"].take())
    }
}
