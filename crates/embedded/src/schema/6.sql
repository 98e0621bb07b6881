-- What was sealed with the key that endpoints' secrets are sealed with: one row, so that a lost key is noticed at the start and not in a
-- signature.
CREATE TABLE seal (sealed TEXT NOT NULL) STRICT;
