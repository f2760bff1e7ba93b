//! `billing.*`, `invoice.*` and `subscription.*`. Amounts are whole micro-units of their currency.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Emission::{Emitted, Waiting},
    Time,
};

/// An invoice as it is after what happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Invoice {
    /// `inv_…`
    pub invoice_id: String,
    /// In millionths of the currency.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    pub period_start: Time,
    pub period_end: Time,
}

impl Invoice {
    fn example() -> Self {
        Self {
            invoice_id: "inv_1QjvzY8L2d0ZB9oU4hXwVi".into(),
            total: 99_000_000,
            currency: "USD".into(),
            period_start: Time(1_793_491_200_000),
            period_end: Time(1_796_083_200_000),
        }
    }
}

/// A subscription as it is after what happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Subscription {
    /// `sub_…`
    pub subscription_id: String,
    /// The name of its plan.
    pub plan: String,
}

impl Subscription {
    fn example() -> Self {
        Self { subscription_id: "sub_1QjvzY8L2d0ZB9oU4hXwVh".into(), plan: "pro".into() }
    }
}

events! {
    /// An account went to a plan that stands before its old one in the list of plans.
    BillingDowngraded = "billing.downgraded" v 1; Emitted; of account_id; {
        /// `acct_…`
        account_id: String = "acct_1QjvzY8L2d0ZB9oU4hXwVm".into(),
        plan: String = "starter".into(),
        previous_plan: String = "pro".into(),
    }

    /// A payment failed.
    BillingPaymentFailed = "billing.payment_failed" v 1; Waiting("billing"); of invoice.invoice_id; {
        #[serde(flatten)]
        invoice: Invoice = Invoice::example(),
        /// Why, in the payment provider's word.
        reason: String = "card_declined".into(),
        /// When it is tried again; null: it is not.
        next_attempt_at: Option<Time> = Some(Time(1_795_262_400_000)),
    }

    /// A payment succeeded.
    BillingPaymentSucceeded = "billing.payment_succeeded" v 1; Waiting("billing"); of invoice.invoice_id; {
        #[serde(flatten)]
        invoice: Invoice = Invoice::example(),
        paid_at: Time = Time(1_795_176_000_000),
    }

    /// An account went to a plan that stands behind its old one in the list of plans.
    BillingUpgraded = "billing.upgraded" v 1; Emitted; of account_id; {
        /// `acct_…`
        account_id: String = "acct_1QjvzY8L2d0ZB9oU4hXwVm".into(),
        plan: String = "pro".into(),
        previous_plan: String = "starter".into(),
    }

    /// An invoice was drawn up.
    InvoiceCreated = "invoice.created" v 1; Waiting("billing"); of invoice.invoice_id; {
        #[serde(flatten)]
        invoice: Invoice = Invoice::example(),
    }

    /// An invoice was made final: it is to be paid.
    InvoiceFinalized = "invoice.finalized" v 1; Waiting("billing"); of invoice.invoice_id; {
        #[serde(flatten)]
        invoice: Invoice = Invoice::example(),
        due_at: Time = Time(1_796_385_600_000),
    }

    /// An invoice was paid.
    InvoicePaid = "invoice.paid" v 1; Waiting("billing"); of invoice.invoice_id; {
        #[serde(flatten)]
        invoice: Invoice = Invoice::example(),
        paid_at: Time = Time(1_795_176_000_000),
    }

    /// An invoice was given up as one that will not be paid.
    InvoiceUncollectible = "invoice.uncollectible" v 1; Waiting("billing"); of invoice.invoice_id; {
        #[serde(flatten)]
        invoice: Invoice = Invoice::example(),
    }

    /// An invoice was declared void.
    InvoiceVoided = "invoice.voided" v 1; Waiting("billing"); of invoice.invoice_id; {
        #[serde(flatten)]
        invoice: Invoice = Invoice::example(),
    }

    /// A subscription was canceled; it ends at the time named.
    SubscriptionCanceled = "subscription.canceled" v 1; Waiting("billing"); of subscription.subscription_id; {
        #[serde(flatten)]
        subscription: Subscription = Subscription::example(),
        ends_at: Time = Time(1_796_083_200_000),
    }

    /// A subscription was created.
    SubscriptionCreated = "subscription.created" v 1; Waiting("billing"); of subscription.subscription_id; {
        #[serde(flatten)]
        subscription: Subscription = Subscription::example(),
        started_at: Time = Time(1_795_176_000_000),
    }

    /// A subscription ended.
    SubscriptionEnded = "subscription.ended" v 1; Waiting("billing"); of subscription.subscription_id; {
        #[serde(flatten)]
        subscription: Subscription = Subscription::example(),
        ended_at: Time = Time(1_796_083_200_000),
    }

    /// A subscription's payment is past due.
    SubscriptionPastDue = "subscription.past_due" v 1; Waiting("billing"); of subscription.subscription_id; {
        #[serde(flatten)]
        subscription: Subscription = Subscription::example(),
    }

    /// A subscription went into its next period.
    SubscriptionRenewed = "subscription.renewed" v 1; Waiting("billing"); of subscription.subscription_id; {
        #[serde(flatten)]
        subscription: Subscription = Subscription::example(),
        period_start: Time = Time(1_796_083_200_000),
        period_end: Time = Time(1_798_761_600_000),
    }
}
