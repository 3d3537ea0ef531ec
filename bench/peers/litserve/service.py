"""LitServe's server with one worker: `python service.py PORT echo|stream`."""

import sys

import litserve as ls
import work


class Echo(ls.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["text"]

    def predict(self, text):
        return work.answer(text)

    def encode_response(self, output):
        return {"text": output}


class Stream(Echo):
    def predict(self, text):
        for _ in range(int(text)):
            yield work.WORD

    def encode_response(self, output):
        for token in output:
            yield {"text": token}


if __name__ == "__main__":
    api = Stream(stream=True) if sys.argv[2] == "stream" else Echo()
    ls.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
