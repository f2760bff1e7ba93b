//! The words both planes share: ids, key format, error codes, limits, the contracts between them, settings.
//!
//! Nothing here performs network IO, reads a clock or knows a runtime. The only files it reads are
//! settings files, once, at the caller's request.

pub mod audit;
mod base62;
pub mod code;
pub mod egress;
pub mod envelope;
pub mod id;
pub mod key;
pub mod limits;
pub mod scope;
pub mod seal;
pub mod session;
pub mod settings;
pub mod store_loss;
pub mod sync;

pub use code::ErrorCode;
pub use id::{
    AccountId, AppId, AppVersionId, AuditId, ClientId, DeliveryId, EventId, GrantId, IdentityId, InstallationId, InvitationId,
    KeyId, MailId, PasskeyId, ProductId, ProjectId, ProxyId, RegistrationTokenId, RequestId, ReviewId, SecretId, SessionId,
    StoreId, SubscriptionId, TicketId, TokenId, UserId, WebhookId, WebhookSecretId,
};
pub use key::{Environment, KeyHash, PlainKey};
pub use limits::Limits;
pub use scope::{Scope, Scopes};
pub use seal::SealingKey;
pub use session::{SessionHash, SessionToken};
pub use store_loss::OnQuotaStoreLoss;
