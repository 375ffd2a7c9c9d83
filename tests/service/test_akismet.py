"""placeholder"""
def test_smoke(service):
    import httpx
    c = httpx.Client(base_url=service.url)
    k = service.key
    r = c.post("/1.1/verify-key", data={"key": k, "blog": "x"}); print(r.status_code, repr(r.text), r.headers)
    r = c.post("/1.1/comment-check", data={"api_key": k, "blog": "x", "comment_content": "See https://shop.example and https://shop.example/2"}); print(r.status_code, repr(r.text), r.headers)
    g = r.headers["x-akismet-guid"]
    r = c.post("/1.1/submit-ham", json={"api_key": k, "comment_content": "See https://shop.example and https://shop.example/2", "guid": g, "reporter": "ann"}); print(r.status_code, repr(r.text), r.headers)
    for p in ("/1.1/get-stats","/1.1/get-subscription", "/1.2/key-sites", "/1.2/usage-limit"):
        r = c.post(p, data={"api_key": k, "from": "all", "format": "csv"}); print(r.status_code, repr(r.text))
    r = c.get("/1.1/nix"); print(r.status_code, repr(r.text), r.headers)
    r = c.get("/1.1/verify-key"); print(r.status_code, repr(r.text), r.headers)
    r = c.post("/1.1/comment-check", files={"api_key": (None, k), "comment_content": (None, "Hällo wörld")}); print(r.status_code, repr(r.text), r.headers)
    r = c.get("/openapi.json"); print(r.status_code)
    assert 0
