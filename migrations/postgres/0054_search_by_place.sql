-- Names, and names with summaries, are searched by themselves: a weight in `search` is looked at row by row. The expressions
-- stand in `control/src/catalogue/store` again.
CREATE INDEX app_listings_search_name ON app_listings USING gin (to_tsvector('simple', words_name));
CREATE INDEX app_listings_search_summary ON app_listings
    USING gin (to_tsvector('simple', words_name || ' ' || words_summary));
