class FaissSearch:
    def __init__(self, factory, nprobe, efSearch):
        raise ValueError
