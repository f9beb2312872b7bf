"""Common Crawl: find captures in its indexes, fetch WARC records and files, politely and without losing one."""
