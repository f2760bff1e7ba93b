-- What a person has written is looked for by them: for their export, and when they are erased.
CREATE INDEX app_reviews_author ON app_reviews (author, id);
CREATE INDEX ticket_messages_author ON ticket_messages (author, created_at);
