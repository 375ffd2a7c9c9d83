-- What Isso 0.14 makes, and what people do to it.
CREATE TABLE preferences (key VARCHAR PRIMARY KEY, value VARCHAR);
CREATE TABLE threads (id INTEGER PRIMARY KEY, uri VARCHAR(256) UNIQUE, title VARCHAR(256));
CREATE TABLE comments (tid REFERENCES threads(id), id INTEGER PRIMARY KEY, parent INTEGER, created FLOAT NOT NULL, modified FLOAT, mode INTEGER, remote_addr VARCHAR, text VARCHAR NOT NULL, author VARCHAR, email VARCHAR, website VARCHAR, likes INTEGER DEFAULT 0, dislikes INTEGER DEFAULT 0, voters BLOB NOT NULL, notification INTEGER DEFAULT 0);
CREATE TRIGGER remove_stale_threads AFTER DELETE ON comments BEGIN DELETE FROM threads WHERE id NOT IN (SELECT tid FROM comments); END;
PRAGMA user_version = 5;
INSERT INTO preferences VALUES ('session-key', 'deadbeef');
INSERT INTO threads VALUES (1, '/rye/', 'Rye & patience'), (2, '/tea.html?x=1', 'Untitled.');
INSERT INTO comments VALUES
    (1, 1, NULL, 1770026400.25, NULL, 1, '203.0.113.0', 'Mine smells of **apples** & cream.', 'Ada', 'ada@mail.example', 'https://ada.example', 3, 0, x'00ff', 0),
    (1, 2, 1, 1770026460, NULL, 1, '203.0.113.0', 'That is fine.', NULL, NULL, NULL, 0, 0, x'00ff', 1),
    (1, 3, NULL, 1770026500, NULL, 2, '203.0.113.0', 'Nobody has looked at me yet.', 'Ben', NULL, NULL, 0, 0, x'00ff', 0),
    (1, 4, NULL, 1770026600, 1770026700, 4, '203.0.113.0', '', NULL, 'gone@mail.example', NULL, 0, 0, x'00ff', 0),
    (1, 5, 4, 1770026800, NULL, 1, '203.0.113.0', 'An answer to what was deleted.', 'Carl', NULL, NULL, 0, 0, x'00ff', 0),
    (2, 6, NULL, 1770026900, NULL, 1, '203.0.113.0', 'A page without a title.', 'Dora', NULL, NULL, 0, 0, x'00ff', 0),
    (9, 7, NULL, 1770027000, NULL, 1, '203.0.113.0', 'My page is not there any more.', 'Eve', NULL, NULL, 0, 0, x'00ff', 0);
