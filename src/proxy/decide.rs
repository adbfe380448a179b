//! The one decision of a request: what the rules say, what stands above them, and who asks.

use pingora::proxy::Session;
use time::OffsetDateTime;

use super::{
    arrival::Arrival,
    carries::Carries,
    context::RequestContext,
    denial::Denial,
    door,
    finish::Finish,
    identity::{self, Identified},
    outgoing,
    pipeline::Pipeline,
};
use crate::{
    audit::AuditKind,
    policy::{Action, Decision, Reason, RequestFacts, guarded},
};

impl Pipeline {
    pub(super) fn decide(
        &self,
        session: &Session,
        context: &mut RequestContext,
        arrival: &Arrival,
        now: OffsetDateTime,
    ) -> Decision<Action> {
        let connection = &arrival.connection;
        let method = &session.req_header().method;
        context.epoch = self.services.live.epoch();
        context.size = outgoing::size_of(session.req_header(), arrival);
        let policy = self.services.policy.load();
        let facts = RequestFacts {
            entry: connection.entry,
            client: connection.client.ip(),
            authority: &arrival.authority,
            method: method.as_str(),
            path: arrival.path(),
            upgrade: arrival.upgrade,
            size: context.size,
        };
        let mut decision = guarded(Action::Deny, || policy.decide_request(&facts, now));
        let overruled = self
            .services
            .overrules_request(decision.action, arrival.for_comfyui().is_some())
            .or_else(|| door::refuses(&self.services, arrival, session.req_header()))
            .or_else(|| match decision.action {
                Action::Forward => door::is_strange(arrival, session.req_header()),
                Action::Respond(_) | Action::Deny => None,
            });
        let known = match overruled {
            // Whoever it is.
            Some(_) => Ok(Identified::default()),
            None => identity::judge(
                &self.services,
                arrival,
                session.req_header(),
                decision.action,
            ),
        };
        let who = known.as_ref().ok().and_then(|k| k.principal.as_deref());
        let overruled = overruled.or_else(|| {
            let terms = decision.terms.as_deref();
            let theirs = terms.is_none_or(|terms| terms.are_for(who));
            (!theirs).then_some(Reason::NotForYou)
        });
        if let Some(reason) = overruled.filter(|_| decision.action != Action::Deny) {
            decision.action = Action::Deny;
            decision.reason = reason;
            decision.would_deny = None;
        }
        if let Err(unwelcome) = known {
            // In place of what the rules say, which is nothing for strangers.
            decision.action = Action::Deny;
            decision.reason = unwelcome.reason;
            decision.would_deny = None;
            context.unwelcome = Some(unwelcome);
        }
        let mut finish = Finish::judged(
            &self.services,
            AuditKind::Request,
            arrival.id,
            connection.entry,
            connection.client.ip(),
            arrival.started,
            (now, policy.generation()),
        );
        finish.request(&arrival.authority, method, arrival.path());
        finish.decided(&decision, decision.action.as_str());
        if let Action::Respond(responder) = decision.action {
            finish.answered_by(responder);
        }
        if arrival.carries.any(Carries::CHAT)
            && let Some(chat) = session.req_header().headers.get(identity::CHAT_ID)
        {
            finish.part_of(chat);
        }
        finish.metered(&context.egress);
        context.terms = decision.terms.clone();
        context.finish = Some(finish);
        if let Ok(known) = known {
            context.identified(known);
        }
        decision
    }

    pub(super) fn denial(
        &self,
        session: &Session,
        arrival: &Arrival,
        decision: &Decision<Action>,
    ) -> Denial {
        Denial {
            reason: decision.reason,
            rule: decision.rule.clone(),
            authority: Some(arrival.authority.clone()),
            detail: None,
            method: session.req_header().method.to_string(),
            path: arrival.path().to_owned(),
        }
    }
}
