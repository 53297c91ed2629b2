"""A server that speaks OpenAI's protocol as far as posbench does, and fails as it is told to.

``faults`` names what happens to the first calls, one a call; after them all goes well. ``reply`` makes the answer of a
prompt; its tokens are its characters, each with probability one half and the alternative "?".
"""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-very-secret-0123456789"
LOG_HALF = -0.6931471805599453
_COMPLAINTS = {  # with digits that must never be read as a score
    "status": f"<answer>9</answer> error 10 with key {KEY}",
    "wait": "slow down: 8",
    "far": "x" * 470 + KEY,
    "long": "This model's maximum context length is 4096 tokens; you asked for 5000.",
}


class Server:
    def __init__(self):
        self.faults = []
        self.reply = lambda body: "<answer>7</answer>"
        self.finish = "stop"
        self.logs = True  # whether log-probabilities are given
        self.calls = []  # (path, body, headers) of each
        self.served = 0  # answered well
        self.lock = threading.Lock()
        self.slow = 0.5  # seconds of a "timeout", or until
        self.hang = threading.Event()
        self.delay = 0.0  # seconds of a good answer
        self.running = self.most = 0  # calls at one time, now and at most
        handler = type("Handler", (_Handler,), {"server_of": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def action(self):
        with self.lock:
            return self.faults.pop(0) if self.faults else "ok"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        own = self.server_of
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with own.lock:
            own.calls.append((self.path, body, dict(self.headers)))
            own.running += 1
            own.most = max(own.most, own.running)
        try:
            self.act(own, body, own.action())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with own.lock:
                own.running -= 1

    def act(self, own, body, action):
        kind, _, value = action.partition(":")
        if kind == "ok":
            time.sleep(own.delay)
            with own.lock:
                own.served += 1
            return self.send(200, _good(own, self.path, body))
        if kind == "timeout":
            own.hang.wait(own.slow)
            return self.send(200, _good(own, self.path, body))
        if kind == "cut":
            return self.send(200, _good(own, self.path, body), cut=20)
        if kind == "drop":
            self.close_connection = True
            return self.connection.close()
        if kind == "raw":
            return self.send(200, value)
        said, status = _COMPLAINTS[kind], int(value) if kind == "status" else 429 if kind == "wait" else 400
        return self.send(status, {"error": {"message": said}}, {"Retry-After": value} if kind == "wait" else {})

    def send(self, status, content, headers=None, cut=0):
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data[: len(data) - cut])
        if cut:
            self.close_connection = True


def _good(own, path, body):
    text = own.reply(body)
    usage = {"prompt_tokens": len(json.dumps(body)), "completion_tokens": len(text)}
    usage["prompt_tokens_details"] = {"cached_tokens": 4}
    choice = {"index": 0, "finish_reason": own.finish}
    if path.endswith("/chat/completions"):
        choice["message"] = {"role": "assistant", "content": text}
        if body.get("logprobs") and own.logs:
            top = [("{}", LOG_HALF), ("?", LOG_HALF)][: body["top_logprobs"]]
            choice["logprobs"] = {
                "content": [
                    {
                        "token": c,
                        "logprob": LOG_HALF,
                        "top_logprobs": [{"token": t.replace("{}", c), "logprob": p} for t, p in top],
                    }
                    for c in text
                ]
            }
    else:
        choice["text"] = text
        if body.get("echo"):
            tokens = [str(token) for token in body["prompt"]] + ["new"]
            choice["logprobs"] = {
                "tokens": tokens,
                "token_logprobs": [None] + [-0.25 * (place % 4) for place in range(1, len(tokens))],
                "top_logprobs": [None] + [{} for _ in tokens[1:]],
            }
    return {"object": "x", "choices": [choice], "usage": usage}


@contextmanager
def running():
    """A server in threads of this process."""
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
