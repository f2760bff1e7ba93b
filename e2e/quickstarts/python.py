import json
import sys

for v in json.load(open(sys.argv[1], encoding="utf-8"))["vectors"]:
    print(str(verify(v["body"].encode(), v["headers"], v["secrets"], v["now"])).lower())
