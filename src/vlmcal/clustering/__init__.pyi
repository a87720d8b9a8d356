from vlmcal.clustering.cdc import CDC as CDC
from vlmcal.clustering.cdc import Clusters as Clusters
from vlmcal.clustering.cdc import Settings as Settings
from vlmcal.clustering.cdc import cluster as cluster
from vlmcal.clustering.kmeans import kmeans as kmeans
from vlmcal.clustering.scores import agreement as agreement
