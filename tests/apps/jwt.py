"""Makes JSON Web Tokens with jwcrypto, which websockify reads them with: jwt.py KEYFILE [ALG[+ALG,ENC]] CLAIMS.

`HS256` and the like sign, `RSA-OAEP,A256GCM` encrypts what `+` in front of it has signed, or the claims themselves. A
symmetric key is in base64url, any other is PEM.
"""

import sys

from jwcrypto import jwe, jwk, jws


def main(path, algorithms, claims):
    data = open(path, "rb").read()
    if data.startswith(b"-----BEGIN"):
        key = jwk.JWK.from_pem(data)
    else:
        key = jwk.JWK(kty="oct", k=data.decode().strip())
    token = claims
    for algorithm in algorithms.split("+"):
        if "," in algorithm:
            alg, enc = algorithm.split(",")
            jwe_token = jwe.JWE(token.encode(), algs=[alg, enc], recipient=key, protected={"alg": alg, "enc": enc})
            token = jwe_token.serialize(compact=True)
        else:
            jws_token = jws.JWS(token.encode())
            jws_token.add_signature(key, algorithm, {"alg": algorithm})
            token = jws_token.serialize(compact=True)
    print(token)


main(*sys.argv[1:])
