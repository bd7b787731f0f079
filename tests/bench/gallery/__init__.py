"""The gallery: small trainings of everything that rethaw undoes, on one page of pictures with figures."""
